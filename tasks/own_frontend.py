"""Web pages of our own: a typed design, drawn with Tailwind, whose description leaves decisions open.

What is hidden is looks (palette, layout, sizes, sections) and words (headline, label of the button): each is a fact that a
person who sees the reference can tell. Options of the train split and of the test split never meet.
"""

import random
import re
from html import escape, unescape
from typing import Literal

from tasks.colbench import Fact, Task
from tasks.decisions import Decision, Option, choice

TAILWIND = "https://cdn.jsdelivr.net/npm/tailwindcss@2.2.19/dist/tailwind.min.css"
COLOURS = "red green blue indigo purple pink yellow gray".split()
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


def _texts(key: str, question: str, keywords: str, statement: str, *texts: str) -> Decision:
    return choice(key, question, keywords, *[(t, t, statement.format(t=t)) for t in texts])


DECISIONS: tuple[Decision, ...] = (
    choice(
        "palette",
        "Which colour should the page have?",
        "colour color palette blue red green background",
        *[
            (c, c, f"The bar at the top and the button are {c}; the button has Tailwind's shade 600 of it.")
            for c in COLOURS
        ],
    ),
    choice(
        "shade",
        "Should the bar at the top be dark or light?",
        "dark light shade bright contrast",
        ("dark", "bg-{c}-800 text-white", "The bar at the top is dark, shade 800, with white text."),
        ("middle", "bg-{c}-500 text-white", "The bar at the top has a strong, middle shade, 500, with white text."),
        (
            "light",
            "bg-{c}-100 text-{c}-900",
            "The bar at the top is very light, shade 100, with dark text of shade 900.",
        ),
        ("pale", "bg-{c}-300 text-{c}-900", "The bar at the top is pale, shade 300, with dark text of shade 900."),
    ),
    choice(
        "columns",
        "In how many columns should the cards stand?",
        "columns column grid layout side cards row",
        ("two", "grid-cols-2", "The cards stand in two columns."),
        ("three", "grid-cols-3", "The cards stand in three columns."),
        ("one", "grid-cols-1", "The cards stand in one column, below each other."),
        ("four", "grid-cols-4", "The cards stand in four columns."),
    ),
    choice(
        "cards",
        "How many cards should there be?",
        "many number cards sections items topics",
        ("four", "4", "There are four cards."),
        ("three", "3", "There are three cards."),
        ("six", "6", "There are six cards."),
        ("five", "5", "There are five cards."),
    ),
    choice(
        "headline_size",
        "How large should the headline be?",
        "headline title large size big font",
        ("huge", "text-6xl", "The headline is huge, 60 pixels in a line of 60."),
        ("large", "text-4xl", "The headline is large, 36 pixels in a line of 40."),
        ("modest", "text-2xl", "The headline is modest in size, 24 pixels in a line of 32."),
        ("very large", "text-5xl", "The headline is very large, 48 pixels in a line of 48."),
    ),
    choice(
        "alignment",
        "Where should the headline stand?",
        "align alignment centre center left right position stand where",
        ("centre", "text-center", "The headline stands in the centre."),
        ("left", "text-left", "The headline stands on the left."),
        ("right", "text-right", "The headline stands on the right."),
        ("indented", "text-left pl-64", "The headline stands on the left, 256 pixels further in than the cards."),
    ),
    _texts(
        "headline",
        "What should the headline say?",
        "headline words text welcome title slogan say",
        'The headline says "{t}".',
        "Come in and stay a while",
        "Made for people like you",
        "A good place to begin",
        "Welcome, neighbours",
        "Small house, great heart",
        "We are here when you need us",
        "Simply done well",
        "Open for everybody",
    ),
    _texts(
        "button",
        "What should the button say?",
        "button label call action click link say",
        'The button says "{t}".',
        "Write to us",
        "Book now",
        "Call today",
        "Ask a question",
        "Get an offer",
        "See the prices",
        "Visit us",
        "Join in",
    ),
    choice(
        "picture",
        "Should there be a picture?",
        "picture image photo photograph banner",
        (
            "wide",
            '<img class="w-full" src="https://picsum.photos/id/48/1280/240">',
            "A wide picture, 1280 by 240 pixels, stands below the bar at the top, from edge to edge.",
        ),
        ("none", "", "There is no picture."),
        (
            "small",
            '<img class="m-8" src="https://picsum.photos/id/48/320/200">',
            "A small picture, 320 by 200 pixels, stands on the left below the bar at the top, 32 pixels from all around it.",
        ),
        (
            "middle",
            '<img class="mx-auto my-8" src="https://picsum.photos/id/48/480/240">',
            "A picture of middle size, 480 by 240 pixels, stands in the centre below the bar at the top, 32 pixels above and below it.",
        ),
    ),
    choice(
        "footer",
        "What should the footer be like?",
        "footer bottom foot end below",
        (
            "dark",
            "bg-gray-900 text-white p-8",
            "The footer is dark, gray of shade 900, with white text 32 pixels from its edges.",
        ),
        (
            "light",
            "bg-gray-100 text-gray-700 p-8",
            "The footer is light, gray of shade 100, with gray text of shade 700, 32 pixels from its edges.",
        ),
        (
            "coloured",
            "bg-{c}-600 text-white p-4",
            "The footer has the colour of the button, with white text 16 pixels from its edges.",
        ),
        (
            "line",
            "border-t-4 border-{c}-600 p-4",
            "The footer is white, below a line 4 pixels thick in the button's colour, its text 16 pixels from the edges.",
        ),
    ),
    choice(
        "corners",
        "What should the cards look like?",
        "card cards look corners shadow border frame round box",
        (
            "shadow",
            "shadow-lg rounded-lg p-6",
            "The cards have round corners of 8 pixels and a large shadow, and their text is 24 pixels from the edges.",
        ),
        (
            "frame",
            "border-2 border-gray-400 p-6",
            "The cards have a frame of 2 pixels in gray of shade 400 and sharp corners, and their text is 24 pixels from it.",
        ),
        (
            "filled",
            "bg-{c}-100 p-6",
            "The cards are filled with shade 100 of the page's colour, and their text is 24 pixels from the edges.",
        ),
        (
            "tinted",
            "bg-gray-200 rounded-xl p-6",
            "The cards are gray of shade 200, with round corners of 12 pixels, and their text is 24 pixels from the edges.",
        ),
    ),
)


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
