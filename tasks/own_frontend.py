"""Web pages of our own: a typed design, drawn with Tailwind, whose description leaves decisions open.

What is hidden is looks (palette, layout, sizes, sections) and words (headline, label of the button): each is a fact that a
person who sees the reference can tell. Options of the train split and of the test splits never meet.
"""

import random
import re
from dataclasses import replace
from html import escape, unescape

from tasks.colbench import Fact, Task
from tasks.decisions import Option, OwnSplit, decision_of, phrasings, read_tables

TAILWIND = "https://cdn.jsdelivr.net/npm/tailwindcss@2.2.19/dist/tailwind.min.css"
TABLES = read_tables("own_frontend.toml")
TRADES: dict[str, list[str]] = TABLES["trades"]
MOST_HIDDEN = 9
"""Of the decisions: something must be asked for, or any page would be looked at."""
DECISIONS = tuple(decision_of(table) for table in TABLES["decisions"])


def draw(options: dict[str, Option], trade: str, seed: int) -> str:
    """The page of a design."""
    rng = random.Random(f"texts {seed}")
    colour = options["palette"].code
    code = {key: option.code.replace("{c}", colour) for key, option in options.items()}
    topics = rng.sample(TRADES[trade], int(code["cards"]))
    cards = "\n".join(
        f'    <div class="{code["corners"]}"><h2 class="text-xl font-bold mb-2">{escape(topic)}</h2>'
        f"<p>{escape(rng.choice(TABLES['sentences']))}</p></div>"
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


def make_page(split: OwnSplit, difficulty: int, seed: int) -> Task:
    """The task of that seed: the same for ever. `difficulty` decisions are hidden. Raises ValueError."""
    if not 1 <= difficulty <= MOST_HIDDEN:
        raise ValueError(f"difficulty={difficulty!r} cannot work: 1 to {MOST_HIDDEN} decisions can be hidden.")
    rng = random.Random(f"page {split} {difficulty} {seed}")
    trade = sorted(TRADES)[seed % len(TRADES)]
    options = {d.key: rng.choice(d.of_split(split)) for d in DECISIONS}
    hidden = rng.sample(DECISIONS, difficulty)
    page = draw(options, trade, seed)
    cards = re.findall(r'mb-2">(.*?)</h2><p>(.*?)</p>', page)
    topics = " ".join(f"{title} ({unescape(text)})" for title, text in cards)
    about = f"A website for a {trade}: a bar with its name at the top, a headline, cards about its topics, a button, a footer."
    about += f" {TABLES['measures'].format(name=trade.title(), foot=trade.capitalize())}"
    if "cards" not in [d.key for d in hidden]:
        about += f" The cards are: {topics}"
    facts = {}
    for d in DECISIONS:
        statement = rng.choice(phrasings(options[d.key].statements, split))
        facts[d.key] = Fact(d.key, options[d.key].value, statement, d.keywords)
    stated = tuple(facts[d.key] for d in DECISIONS if d not in hidden)
    if "cards" in [d.key for d in hidden]:
        facts["cards"] = replace(facts["cards"], statement=f"{facts['cards'].statement} They are: {topics}")
    return Task(
        task_id=f"own-frontend/{split}/{difficulty}/{seed}",
        kind="frontend",
        description=" ".join([about, *(fact.statement for fact in stated)]),
        ground_truth=page,
        facts=tuple(facts[d.key] for d in DECISIONS if d in hidden),
        stated=stated,
        split=split,
        difficulty=difficulty,
    )
