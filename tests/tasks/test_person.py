"""Simulated people answer from what they know, give no code away, and end where a sentence ends; rows are read strictly."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settings import Settings
from tasks.answers import MARKER, answer_in, page_in, split_reply
from tasks.colbench import Fact, Task
from tasks.kept import KeptData, read_preferences
from tasks.person import (
    FORGOTTEN,
    NOTHING_ASKED,
    ONE_THING,
    REPEATED,
    STATED,
    TIRED,
    UNKNOWN,
    VAGUE,
    PersonBehaviour,
    answer_from_facts,
    cut,
    leak_in,
    told_facts,
)
from tasks.trajectory import BadTrajectory, Trajectory, read_trajectories, trajectory_of
from tests.conftest import said

FACTS = (
    Fact("limit", "5", "The limit is five.", ("limit", "threshold")),
    Fact("unit", "kg", "Weights are in kilograms.", ("unit", "kilograms")),
    Fact("order", "asc", "The smallest comes first.", ("order", "sorted")),
)
TRUTH = "def f(x, y):\n    if x >= 5 and y != 0:\n        return x * 2 + y - 1\n    return [v for v in range(x) if v % 2 == 0]"
TASK = Task("t", "backend", "d", TRUTH, ("f(1, 2)",), FACTS)


CLEAR = {"vagueness": 0.0, "forgetfulness": 0.0}


def ask(text: str, earlier: Sequence[tuple[str, str]] = (), *, seed: Any = 0, **behaviour: float) -> str:
    """What the person says to a text, after earlier ones and what it said to them."""
    turns = [turn for agent, person in earlier for turn in (said("agent", agent), said("person", person))]
    chosen = PersonBehaviour(**{**CLEAR, **behaviour})  # type: ignore[arg-type]
    return answer_from_facts(TASK, text, turns, chosen, seed)


def test_it_answers_what_it_is_asked_and_nothing_else() -> None:
    assert ask("What is the limit?") == "The limit is five."
    for heap in (
        "Which unit, and what limit?",
        "Limit, unit, order: what are they?",
        "What is the limit? And what is the unit?",
        "limit limit limit limit?",
        "Limit threshold unit kilograms order sorted?",
        f"What is the limit {'of it ' * 20}?",
    ):
        assert ask(heap) == ONE_THING, heap
    assert ask("What colour?") == ask("Is it the limit or the unit?") == UNKNOWN
    assert ask("What is the limit?", [("Which limit?", "The limit is five.")]) == REPEATED
    task = replace(TASK, facts=FACTS[1:], stated=FACTS[:1])
    assert answer_from_facts(task, "What is the limit?", [], PersonBehaviour(), 0) == STATED
    for asked in (
        "**What is the limit?**",
        "`Which limit?`",
        'He said: "which limit?"',
        "Limit？",
        "Please tell me the limit.",
        "A limit, i.e. how much?",
    ):
        assert ask(asked) == "The limit is five.", asked
    assert ask("I have set the limit to four.") == NOTHING_ASKED
    assert told_facts(TASK, ["Well. The limit is five.", "no"]) == ["limit"]


def test_its_behaviour() -> None:
    asked = [("Which unit?", UNKNOWN), ("What colour?", UNKNOWN)]
    assert ask("Which unit?", asked, patience=2) == TIRED
    question = "What is the limit?"
    for first, name in ((VAGUE, "vagueness"), (FORGOTTEN, "forgetfulness")):
        behaviour: dict[str, Any] = {name: 1.0}
        assert ask(question, **behaviour) == first
        assert ask("Which limit?", [(question, first)], **behaviour) == "The limit is five.", "it is asked again"
        assert ask("Which unit?", [(question, first)], **behaviour) == first, (
            "of another thing it is asked for the first time"
        )
    told = [ask(question, seed=n, forgetfulness=0.5) for n in range(200)]
    assert 60 < told.count(FORGOTTEN) < 140
    assert told == [ask(question, seed=n, forgetfulness=0.5) for n in range(200)]
    assert 0 < PersonBehaviour().vagueness < 1 > PersonBehaviour().forgetfulness > 0
    for wrong in ({"patience": -1}, {"vagueness": 2}, {"forgetfulness": -0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PersonBehaviour(**wrong)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("It starts at five, and zero does not count.", ""),
        ("If the weight is 5 or more, double it and add the other one.", ""),
        ("Use `x`.", ""),
        ("```\nx\n```", "fence"),
        ("Write def f(x, y): and so on.", "signature"),
        ("You should return x * 2 there.", "signature"),
        ("from math import sqrt for it", "signature"),
        ("Well:\nimport math", "signature"),
        ("return x if x > 2 else 0", "signature"),
        ("from ten euros on it is free.", ""),
        ("import duties are added.", ""),
        ("business class tickets (the dear ones)", ""),
        ("class rooms: ten euros", ""),
        ("Use <table> there.", "tag"),
        ('Make it <div class="p-4"> please.', "tag"),
        ("So: if x >= 5 and y != 0 then that.", "ngram"),
        ("v for v in range(x) if v % 2 == 0", "ngram"),
    ],
)
def test_leaks(reply: str, kind: str) -> None:
    assert leak_in(reply, TRUTH) == kind


@given(st.text(alphabet="ab .!?e\n", max_size=700), st.integers(20, 400))
@settings(max_examples=200, deadline=None)
def test_a_cut_reply_is_a_beginning_that_ends_with_a_word(text: str, most: int) -> None:
    whole, short = " ".join(text.split()), cut(text, most)
    assert whole.startswith(short)
    assert len(short) <= most
    assert len(short) == len(whole) or whole[len(short)] == " " or not short
    assert cut("One, e.g. this. Two. Three.") == "One, e.g. this. Two."


PAGE = "<html><body><p>x</p></body></html>"


@pytest.mark.parametrize(
    ("text", "page"),
    [
        (f"```html\n<html><p>draft</p></html>\n```\nBetter:\n```html\n{PAGE}\n```", f"{PAGE}"),
        (f"The old one <html>a</html> and the new one {PAGE} then.", PAGE),
        (f"I use the `<html>` and the `<body>` element.\n\n{PAGE}", PAGE),
        ("<html><iframe srcdoc='<html>in</html>'></iframe><p>out</p></html>", None),
        ("```html\n<html><p>never closed\n```", "<html><p>never closed\n"),
        ("<style>p{color:red}</style><body><p>x</p></body> So.", "<style>p{color:red}</style><body><p>x</p></body>"),
        ("```css\np{color:red}\n```", ""),
        ("In prose <html> is not closed.", ""),
    ],
)
def test_the_last_page_counts(text: str, page: str | None) -> None:
    assert page_in(text).rstrip("\n") == (text if page is None else page).rstrip("\n")


@pytest.mark.parametrize("part", ["<html>", "<html></html>", "<style>", "```html\n", "OUTPUT: "])
def test_a_reply_of_one_part_many_times_is_soon_read(part: str) -> None:
    assert isinstance(page_in(part * 20_000), str)  # the suite's time limit fails what is quadratic
    assert len(split_reply(part * 20_000)) == 2


def test_a_marker_that_is_only_talked_about_ends_nothing() -> None:
    assert answer_in(f'I shall say "{MARKER}" when I am done. Which unit?') is None
    code = "```python\nprint('INPUT: 1')\nprint( OUTPUT: )\n```"
    assert split_reply(f"{code}\nIs it so?") == ("", f"{code}\nIs it so?")


def test_replies_are_taken_apart() -> None:
    assert split_reply(f"{MARKER} OUTPUT: 1") == ("", f"{MARKER} 1")
    code = "def f(x):\n    'INPUT: x. OUTPUT: <think>'\n    return x"
    assert split_reply(f"So. OUTPUT: Here. {MARKER}\n{code}") == ("So.", f"Here. {MARKER}\n{code}")
    assert answer_in(f"x {MARKER} a {MARKER} b") == f"a {MARKER} b"
    assert answer_in("x") is None
    assert split_reply(f"Done.\n{MARKER.capitalize()} 1") == ("", f"Done.\n{MARKER} 1"), "as small models write it"
    assert answer_in("Before I want to answer: which unit?") is None
    assert page_in("a <HTML lang=en><p>x</p></HTML> b") == "<HTML lang=en><p>x</p></HTML>"
    assert page_in("<body>y</body>") == "<body>y</body>"
    assert page_in("```html\n<p>z</p>\n```") == "<p>z</p>\n"
    assert page_in("no page") == ""
    assert page_in("x <!DOCTYPE html>\n<html><p></html>") == "<!DOCTYPE html>\n<html><p></html>"
    assert page_in("<html>" * 50_000) == ""


ROW = Trajectory(
    task="t", kind="backend", description="d", turns=(said("agent", "a?"), said("person", "b"), said("agent", "x")), answer="x", score=0.5,
    success=False, stop="answered",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"score": 2}, "score"), ({"score": "1"}, "score"), ({"turns": [{"role": "x"}]}, r"turns\[0\]"), ({"kind": "x"}, "kind"),
        ({"stop": ""}, "stop"), ({"success": 1}, "success"), ({"more": 1}, "more"), ({"seed": "1"}, "seed"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f"{json.dumps(ROW.to_row())}\n\n{json.dumps({**ROW.to_row(), **change})}\n")
    with pytest.raises(BadTrajectory, match=rf"t\.jsonl, line 3: .*{told}"):
        list(read_trajectories(path))


def test_the_public_format_is_read() -> None:
    row = {
        "task": {"problem_description": "d", "test_cases": {}}, "answer": "x", "reward": 1.0,
        "dialogue_history": [{"role": "user", "content": "d"}, {"role": "assistant", "content": "q", "input": "…"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}, {"role": "user", "content": "late"}],
    }  # fmt: skip
    read = trajectory_of(row)
    assert (read.success, [t["role"] for t in read.turns], read.turns[0]["content"]) == (
        True,
        ["agent", "person", "agent"],
        "q",
    )
    with pytest.raises(BadTrajectory, match="dialogue_history"):
        trajectory_of({**row, "dialogue_history": [1]})


def test_nothing_is_kept_without_consent(home: Path) -> None:
    kept = KeptData(Settings(home=home))
    assert kept.may_keep() is None
    with pytest.raises(PermissionError):
        kept.keep(ROW, "run")
    kept.agree(False)
    with pytest.raises(PermissionError):
        kept.keep_preference(ROW, ROW)
    kept.agree(True)
    for run in ("one", "two", "one"):
        kept.keep(ROW, run)
    other = trajectory_of({**ROW.to_row(), "answer": "y\u2028z"})
    kept.keep_preference(ROW, other)
    rows = list(read_trajectories(kept.folder / "collaborations.jsonl"))
    assert [row.extra["run"] for row in rows] == ["one", "two"]
    assert rows[0].turns == ROW.turns
    assert list(read_preferences(kept.folder / "preferences.jsonl")) == [(ROW, other)]
    with pytest.raises(ValueError, match="one task"):
        kept.keep_preference(ROW, trajectory_of({**ROW.to_row(), "task": "other"}))
