"""An attack on the person of rules: searches for what to say, whatever the request is, that draws out all that is hidden."""

import math
import random
from collections.abc import Callable, Iterable, Sequence

import pytest

from evaluation.scripted_agents import open_decisions
from tasks.colbench import Fact, Task
from tasks.decisions import OwnSplit
from tasks.dialogue import Turn
from tasks.families import FAMILIES
from tasks.own_backend import make_task
from tasks.own_frontend import DECISIONS, TRADES, draw, make_page
from tasks.page_differences import CANNOT_SEE, NOT_AS_ASKED, NOT_YET, RIGHT
from tasks.person import FORGOTTEN, GRAMMAR, ONE_THING, STATED, PersonBehaviour, answer_from_facts, told_facts
from tests.conftest import said

TURNS = 2
"""That a string is said: who is vague or forgets answers it the second time, and never anything else."""
TRIED = 2_000
BEST = 0.05
QUESTIONS = [q for family in FAMILIES for d in family.decisions for q in d.questions]
WORDS = sorted({w for f in FAMILIES for d in f.decisions for w in d.keywords} | GRAMMAR)
Policy = Callable[[int], str]
"""What is said at a turn."""


def success(task: Task, policy: Policy) -> float:
    """How often an answer is right that has what the policy drew out, and guesses the rest."""
    turns: list[Turn] = []
    for number in range(TURNS):
        text = policy(number)
        turns += [said("agent", text), said("person", answer_from_facts(task, text, turns, PersonBehaviour(), 0))]
    told = told_facts(task, [turn["content"] for turn in turns if turn["role"] == "person"])
    split: OwnSplit = task.split or "train"
    return math.prod(1 / len(d.of_split(split)) for d in open_decisions(task) if d.key not in told)


def tasks_of(families: Iterable[int], count: int) -> list[Task]:
    """Tasks as the demonstration has them: four or five decisions are hidden."""
    return [make_task("test", 4 + n % 2, n * len(FAMILIES) + family) for family in families for n in range(count)]


def search(rng: random.Random, parts: Sequence[str], worth: Callable[[str], float], tried: int) -> float:
    """The best of `tried` strings: at random, then by changing the best, a part more, less or other, or two of the best joined."""

    def heap(size: int) -> str:
        return " ".join(rng.choices(parts, k=size)) + "?"

    found = sorted(((worth(s), s) for s in (heap(rng.randint(1, 25)) for _ in range(tried // 2))), reverse=True)[:20]
    for _ in range(tried - tried // 2):
        one, other = (rng.choice(found)[1].removesuffix("?").split(" ") for _ in range(2))
        at = rng.randrange(len(one) + 1)
        changed = rng.choice(
            [[*one[:at], rng.choice(parts), *one[at:]], [*one[:at], *one[at + 1 :]], [*one[:at], *other[at:]]]
        )
        text = " ".join(changed) + rng.choice(["?", "", ". Tell me.", "?"])
        found = sorted({*found, (worth(text), text)}, reverse=True)[:20]
    return found[0][0]


def test_no_string_said_at_every_turn_solves_tasks_of_all_families() -> None:
    tasks = tasks_of(range(len(FAMILIES)), 1)

    def worth(text: str) -> float:
        return sum(success(task, lambda _: text) for task in tasks) / len(tasks)

    best = search(random.Random(0), [*WORDS, *QUESTIONS], worth, TRIED)
    assert max(best, *map(worth, QUESTIONS)) <= BEST


@pytest.mark.parametrize("family", range(len(FAMILIES)), ids=[f.name for f in FAMILIES])
def test_no_string_said_at_every_turn_solves_those_of_one_family(family: int) -> None:
    own = FAMILIES[family].decisions
    parts = sorted({w for d in own for w in d.keywords} | {q for d in own for q in d.questions} | GRAMMAR)
    tasks = tasks_of([family], 2)

    def worth(text: str) -> float:
        return sum(success(task, lambda _: text) for task in tasks) / len(tasks)

    assert search(random.Random(family), parts, worth, TRIED) <= BEST


def test_a_reply_draws_out_one_fact_at_most() -> None:
    rng = random.Random(1)
    for task in tasks_of(range(len(FAMILIES)), 1):
        for _ in range(200):
            text = " ".join(rng.choices([*WORDS, *QUESTIONS], k=rng.randint(1, 40))) + "?"
            answer = answer_from_facts(task, text, [], PersonBehaviour(vagueness=0, forgetfulness=0), 0)
            assert len(told_facts(task, [answer])) <= 1, text
        for heap in (" ".join(w for d in FAMILIES[0].decisions for w in d.keywords) + "?", " ".join(QUESTIONS[:9])):
            assert answer_from_facts(task, heap, [], PersonBehaviour(), 0) == ONE_THING


def test_a_page_that_was_made_without_reading_draws_out_nothing() -> None:
    """Whole pages of ours, with a design of their own, for each trade; and a page of three words, which once drew out everything."""
    rng = random.Random(2)
    tasks = [make_page("test", 6, n) for n in range(3)]
    pages = ["<html><body>one two three</body></html>"]
    for trade in sorted(TRADES)[:4]:
        pages.append(draw({d.key: rng.choice(d.of_split("test")) for d in DECISIONS}, trade, 0))
    told = 0
    for task in tasks:
        for page in pages:
            reply = answer_from_facts(task, page, [], PersonBehaviour(), 0)
            told += len(told_facts(task, [reply]))
            assert reply == CANNOT_SEE or reply.startswith(NOT_AS_ASKED) or told_facts(task, [reply])
    assert told <= BEST * len(tasks) * len(pages)


def test_a_page_is_told_what_it_lacks_until_it_is_right() -> None:
    """An agent that reads the request, draws a page, and changes one thing at a time as it is told."""
    for number in range(2):
        task, rng = make_page("test", 6, number), random.Random(number)
        trade = sorted(TRADES)[number % len(TRADES)]
        known = {fact.key: fact.value for fact in task.stated}
        drawn = {d.key: rng.choice(d.of_split("test")) for d in DECISIONS}
        turns: list[Turn] = []
        for _ in range(9):
            options = {
                d.key: next(o for o in d.options if o.value == known.get(d.key, drawn[d.key].value)) for d in DECISIONS
            }
            page = draw(options, trade, number)
            reply = answer_from_facts(task, page, turns, PersonBehaviour(), 0)
            turns += [said("agent", page), said("person", reply)]
            if reply == RIGHT:
                break
            told = told_facts(task, [reply])
            assert len(told) == 1, (number, reply)
            known |= {fact.key: fact.value for fact in task.facts if fact.key in told}
        assert reply == RIGHT


def other(page: str, old: str, new: str) -> str:
    assert old in page
    return page.replace(old, new, 1)


def test_a_page_that_is_not_right_is_not_called_so() -> None:
    """Cards too many, cards elsewhere, every headline and label at once: what a reviewer found taken for right."""
    task = next(t for n in range(40) if "grid-cols-3" in (t := make_page("test", 5, n)).ground_truth)
    truth = task.ground_truth
    last = truth.rindex('    <div class="')  # so that the others stay where they are
    card = truth[last : truth.index("</div>", last) + 6]
    title = card[card.index('mb-2">') + 6 : card.index("</h2>")]
    missing = next(name for names in TRADES.values() if title in names for name in names if name not in truth)
    values = [o.value for d in DECISIONS if d.key in ("headline", "button") for o in d.options]
    everything = "".join(f"<p>{value}</p>" for value in values)
    for wrong in (
        other(truth, card, card + "\n" + card.replace(title, missing)),
        other(truth, "grid-cols-3", "grid-cols-4"),
        other(truth, "</body>", f"{everything}</body>"),
    ):
        assert answer_from_facts(task, wrong, [], PersonBehaviour(), 0) != RIGHT
    names = "".join(f"<p>{trade.title()}</p>" for trade in TRADES)
    assert answer_from_facts(task, other(truth, "</body>", f"{names}</body>"), [], PersonBehaviour(), 0) == CANNOT_SEE
    assert answer_from_facts(task, truth, [], PersonBehaviour(), 0) == RIGHT


def test_who_asks_beside_a_page_is_answered_the_second_time() -> None:
    task = make_page("test", 5, 12)
    asked = "<html><body><p>x</p></body></html> Which colour should the page have?"
    forgetful, turns = PersonBehaviour(vagueness=0, forgetfulness=1), list[Turn]()
    for _ in range(2):
        turns += [said("agent", asked), said("person", answer_from_facts(task, asked, turns, forgetful, 0))]
    fact = next(fact for fact in (*task.facts, *task.stated) if fact.key == "palette")
    assert turns[-1]["content"] in (fact.statement, STATED)
    assert turns[1]["content"] in (FORGOTTEN, STATED)


def test_a_page_of_somebody_elses_task() -> None:
    """Its parts are not known: what is like it as a whole is told a fact, and it need not be built like ours."""
    truth = "<html><body><h1>Tea and cake</h1><p>Open from nine to five</p></body></html>"
    task = Task("mine/0", "frontend", "A page.", truth, facts=(Fact("open", "nine", "It opens at nine.", ("open",)),))
    near = other(truth, "from nine", "until")
    seen = [(near, "It opens at nine."), (truth, RIGHT), ("<html><body>one two three</body></html>", CANNOT_SEE)]
    for page, reply in seen:
        assert answer_from_facts(task, page, [], PersonBehaviour(), 0) == reply
    told = [said("agent", near), said("person", "It opens at nine.")]
    assert answer_from_facts(task, near, told, PersonBehaviour(), 0) == NOT_YET
