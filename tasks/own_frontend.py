"""Web pages of our own: a typed design, drawn with Tailwind, whose description leaves decisions open.

What is hidden is looks (palette, layout, sizes, sections) and words (headline, label of the button): each is a fact that a
person who sees the reference can tell. Options of the train split and of the test split never meet.
"""

import random
import re
from html import escape, unescape
from typing import Literal

from tasks.colbench import Fact, Task
from tasks.decisions import Decision, Option, read_page_decisions

TAILWIND = "https://cdn.jsdelivr.net/npm/tailwindcss@2.2.19/dist/tailwind.min.css"
TRADES = {
    "bakery": ("Bread", "Cakes", "Coffee", "Opening hours", "Catering", "Our mill"),
    "bicycle repair shop": ("Repairs", "Spare parts", "Rental", "Courses", "Used bicycles", "Tours"),
    "school of music": ("Piano", "Violin", "Singing", "Concerts", "Teachers", "Fees"),
    "garden nursery": ("Trees", "Herbs", "Tools", "Advice", "Delivery", "Seeds"),
    "translation office": ("Contracts", "Websites", "Interpreting", "Prices", "Languages", "Certified copies"),
    "mountain hut": ("Rooms", "Kitchen", "Paths", "Weather", "How to get here", "Guides"),
}
SENTENCES = (
    "We have done this for twenty years, and we still enjoy it every day.",
    "Ask us for an offer; the first talk costs nothing and takes half an hour.",
    "You find us near the market, two minutes from the station.",
    "Everything is made by hand, in small numbers, and with great care.",
    "Bring your family along: there is room and something to do for all.",
    "Our prices are on the door, and nothing is added to them later.",
)


MEASURES = (
    "Of the looks this much is settled, in pixels: the ground is white; all text is in the font system-ui, 16 high in lines of 24 where "
    "nothing else is said; the bar's name, {name}, is bold, 24 high in a line of 32, and 24 from the bar's edges; round the bold "
    "headline, the cards together, and the button 32 are free, of which those above and below each other are shared; the cards are "
    "24 apart, each with a bold title 20 high in a line of 28 and, 8 below it, its text; the button is rounded by 4, and its white "
    "text is 24 from its sides and 12 from its top and bottom; the footer says: {foot}, Market Square 1."
)


DECISIONS = read_page_decisions()


def draw(options: dict[str, Option], trade: str, seed: int) -> str:
    """The page of a design."""
    rng = random.Random(f"texts {seed}")
    colour = options["palette"].code
    code = {key: option.code.replace("{c}", colour) for key, option in options.items()}
    topics = rng.sample(TRADES[trade], int(code["cards"]))
    cards = "\n".join(
        f'    <div class="{code["corners"]}"><h2 class="text-xl font-bold mb-2">{escape(topic)}</h2>'
        f"<p>{escape(rng.choice(SENTENCES))}</p></div>"
        for topic in topics
    )
    return f"""<html>
<link href="{TAILWIND}" rel="stylesheet">
<body class="bg-white">
  <header class="{code["shade"]} p-6"><span class="text-2xl font-bold">{escape(trade.title())}</span></header>
  {code["picture"]}
  <h1 class="{code["headline_size"]} {code["alignment"]} font-bold m-8">{escape(code["headline"])}</h1>
  <div class="grid {code["columns"]} gap-6 m-8">
{cards}
  </div>
  <div class="m-8"><a class="inline-block bg-{colour}-600 text-white rounded px-6 py-3">{escape(code["button"])}</a></div>
  <footer class="{code["footer"]}"><p>{escape(trade.capitalize())}, Market Square 1</p></footer>
</body>
</html>
"""


def make_page(split: Literal["train", "test"], difficulty: int, seed: int) -> Task:
    """The task of that seed: the same for ever. `difficulty` decisions are hidden. Raises ValueError."""
    if not 1 <= difficulty <= len(DECISIONS):
        raise ValueError(f"difficulty={difficulty!r} cannot work: 1 to {len(DECISIONS)} decisions can be hidden.")
    rng = random.Random(f"page {split} {difficulty} {seed}")
    trade = sorted(TRADES)[seed % len(TRADES)]
    options = {d.key: rng.choice(d.of_split(split)) for d in DECISIONS}
    hidden = rng.sample(DECISIONS, difficulty)
    page = draw(options, trade, seed)
    told = [options[d.key].statement for d in DECISIONS if d not in hidden]
    cards = re.findall(r'mb-2">(.*?)</h2><p>(.*?)</p>', page)
    topics = " ".join(f"{title} ({unescape(text)})" for title, text in cards)
    about = f"A website for a {trade}: a bar with its name at the top, a headline, cards about its topics, a button, a footer."
    about += f" {MEASURES.format(name=trade.title(), foot=trade.capitalize())}"
    if "cards" not in [d.key for d in hidden]:
        about += f" The cards are: {topics}"
    return Task(
        task_id=f"own-frontend/{split}/{difficulty}/{seed}",
        kind="frontend",
        description=" ".join([about, *told]),
        ground_truth=page,
        facts=tuple(
            Fact(d.key, options[d.key].value, _with_topics(d, options[d.key], topics), d.keywords)
            for d in DECISIONS
            if d in hidden
        ),
        split=split,
        difficulty=difficulty,
    )


def _with_topics(decision: Decision, option: Option, topics: str) -> str:
    return f"{option.statement} They are: {topics}" if decision.key == "cards" else option.statement
