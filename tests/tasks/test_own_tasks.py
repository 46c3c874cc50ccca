"""Our own tasks: the same for ever, split without a shared decision, solvable by asking and not by guessing."""

import ast
import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, permutations
from typing import Any

import pytest

from evaluation.own_tasks import play
from evaluation.scripted_agents import open_decisions
from sandbox.choose import shared_sandbox
from settings import Settings
from tasks.backend_score import BackendScorer
from tasks.colbench import Fact, Task, task_of
from tasks.decisions import SPLITS, Decision
from tasks.families import FAMILIES
from tasks.own_backend import make_task
from tasks.own_frontend import DECISIONS, make_page
from tasks.person import PersonBehaviour, answer_from_facts
from tests.tasks.questions import HEARD, UNHEARD

CLEAR = PersonBehaviour(vagueness=0, forgetfulness=0)
ALL = [(f.name, f.decisions) for f in FAMILIES] + [("page", DECISIONS)]


def knowing(decisions: Sequence[Decision]) -> Task:
    """A task all of whose decisions a person knows, by their keys."""
    return Task("t", "backend", "d", "", facts=tuple(Fact(d.key, "", f"<{d.key}>", d.keywords) for d in decisions))


@pytest.mark.parametrize(("name", "decisions"), ALL, ids=[name for name, _ in ALL])
def test_each_question_is_understood_and_no_statement_hides_in_another(
    name: str, decisions: tuple[Decision, ...]
) -> None:
    task = knowing(decisions)
    for decision in decisions:
        for question in decision.questions:
            assert answer_from_facts(task, question, [], CLEAR, 0) == f"<{decision.key}>", question
        assert len(set(decision.questions)) >= 3
        assert all(len(set(option.statements)) >= 3 for option in decision.options)
    statements = [s for d in decisions for o in d.options for s in o.statements]
    assert not [(a, b) for a, b in permutations(statements, 2) if a in b]
    for decision in decisions:
        train, test, rephrased = (decision.of_split(split) for split in SPLITS)
        assert len(train) > 1
        assert len(test) > 1
        assert not set(train) & set(test)
        assert test == rephrased


def test_families_share_no_sentence() -> None:
    """A family that is held out is held out with its sentences and questions."""
    said = [{q for d in f.decisions for q in d.questions} | {s for d in f.decisions for o in d.options for s in o.statements} for f in FAMILIES]  # fmt: skip
    assert not [(a, b) for a, b in combinations(range(len(FAMILIES)), 2) if said[a] & said[b]]


def understood(asked: dict[str, dict[str, list[str]]]) -> float:
    """Share of the questions to which the person of rules, who knows all of a family's decisions, tells the one that is meant."""
    families = {family.name: family.decisions for family in FAMILIES}
    answers = []
    for name, questions in asked.items():
        task = knowing(families[name])
        for key, texts in questions.items():
            answers += [f"<{key}>" == answer_from_facts(task, text, [], CLEAR, 0) for text in texts]
    return sum(answers) / len(answers)


def test_questions_as_people_put_them_are_understood() -> None:
    assert understood(HEARD) >= 0.97
    unheard = {name: {key: [text] for key, text in questions.items()} for name, questions in UNHEARD.items()}
    assert understood(unheard) >= 0.9


READINGS: dict[str, list[tuple[str, dict[str, str], tuple[Any, ...], Any]]] = {
    "what is capped is capped after rounding": [
        ("average_score", {"cap": "61", "rounding": "up to 5", "bonus": "2", "dropped": "2", "missing": "zero"}, ([70] * 5,), 61)
    ],
    "minutes go on where hours are not shown": [
        ("duration_text", {"offset": "15", "zero_hours": "never", "padding": "two", "units": "none", "separator": "-",
                           "invalid": "0"}, (6885,), "115-00"),
        ("duration_text", {"offset": "15", "zero_hours": "from two", "padding": "two", "units": "none", "separator": "-",
                           "invalid": "0"}, (6885,), "115-00"),
    ],
    "what is returned for no time is returned before anything is added": [
        ("duration_text", {"offset": "45", "zero_hours": "hidden", "padding": "two", "units": "none", "separator": "-",
                           "invalid": "None"}, (-4,), None),
    ],
    "days are cut after the share of who works less": [
        ("leave_days", {"base": "29", "every": "2", "full": "40", "most_days": "31", "rounding": "down"}, (10, 20), 17),
    ],
    "readings keep their hours": [
        ("alarm_hours", {"missing": "passed over", "limit": "20", "side": "itself counts", "first_hour": "0", "report": "hours"},
         ([30, None, 30],), [0, 2]),
    ],
    "order first, and case does not count in it": [
        ("make_code", {"shelf": "12", "letters": "3", "words": "2", "separator": "-", "case": "lower", "order": "alphabet",
                       "ending": "count"}, ("zebra Ant bee",), "12-ant-bee-3"),
    ],
    "equally near scores are not equal": [
        ("ranking", {"places": "3", "least": "2", "ties": "alphabet", "separator": "-", "order": "near 30", "shape": "upper"},
         ([["a", 35], ["z", 25]],), "Z-A"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("reading", READINGS)
def test_a_function_does_what_its_sentences_say(reading: str) -> None:
    """Where a second reading was as natural, the sentence now says which."""
    for name, chosen, arguments, expected in READINGS[reading]:
        family = next(f for f in FAMILIES if f.name == name)
        options = {d.key: next(o for o in d.options if o.value == chosen[d.key]) for d in family.decisions}
        names: dict[str, Any] = {}
        exec(family.program(options), names)
        assert names[family.function](*arguments) == expected


@pytest.mark.parametrize(
    ("family", "question", "key"),
    [
        ("order_total", "How big is the discount?", "discount"),
        ("order_total", "How large is the discount?", "discount"),
        ("order_total", "Is the fee 10?", "fee"),
        ("alarm_hours", "What is the limit?", "limit"),
        ("alarm_hours", "How high is the limit?", "limit"),
        ("late_fee", "Is the fee capped at 50?", "share"),
        ("split_bill", "Is the voucher 500 cents?", "rebate"),
        ("order_total", "How high is the handling fee?!", "fee"),
        ("order_total", "How high is the handling fee", "fee"),
        ("order_total", "<b>How high is the handling fee?</b>", "fee"),
    ],
)
def test_what_was_once_taken_for_something_else(family: str, question: str, key: str) -> None:
    task = knowing(next(f for f in FAMILIES if f.name == family).decisions)
    assert answer_from_facts(task, question, [], CLEAR, 0) == f"<{key}>"


@pytest.mark.parametrize("question", ["Is 50 right?", "Do you want the format 1:30:05?"])
def test_a_number_is_no_word_for_zero(question: str) -> None:
    for family in FAMILIES:
        told = answer_from_facts(knowing(family.decisions), question, [], CLEAR, 0)
        assert told not in ("<invalid>", "<padding>", "<zero_hours>"), family.name


def test_no_task_can_be_guessed() -> None:
    for split in SPLITS:
        for number in range(24):
            task = make_task(split, 1 + number // 12, number)
            family = FAMILIES[number % len(FAMILIES)]
            hidden = {fact.key for fact in task.facts}
            assert math.prod(len(d.of_split(split)) for d in family.decisions if d.key in hidden) >= 20


def test_tasks_are_the_same_for_ever_and_the_splits_share_no_decision() -> None:
    assert make_task("train", 3, 5) == make_task("train", 3, 5)
    assert make_page("test", 6, 5) == make_page("test", 6, 5)
    decisions = {
        split: {
            (f.key, f.value) for n in range(60) for f in (*make_task(split, 3, n).facts, *make_page(split, 6, n).facts)
        }
        for split in ("train", "test")
    }
    assert not decisions["train"] & decisions["test"]
    assert task_of(make_task("train", 2, 1).to_row(), "x") == make_task("train", 2, 1)
    for wrong in (0, 6):
        with pytest.raises(ValueError, match="difficulty"):
            make_task("train", wrong, 0)


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4, 5])
def test_truth_passes_constants_do_not_and_hidden_decisions_stay_hidden(difficulty: int) -> None:
    scorer = BackendScorer(shared_sandbox(Settings()))
    for task in (make_task("test", difficulty, seed) for seed in range(100, 124)):
        assert scorer.score(task, task.ground_truth).success
        assert len(task.calls) == 10
        assert len(task.facts) == difficulty
        assert {d.key for d in open_decisions(task)} == {f.key for f in task.facts}
        assert not any(fact.statement in task.description for fact in task.facts)
        same = Counter(repr(a.value) for a in scorer.truth(task))
        assert max(same.values()) <= 4
        ast.parse(task.ground_truth)


def test_asking_for_everything_solves_all_and_guessing_almost_nothing() -> None:
    tasks = [make_task(split, 3, n) for split in SPLITS for n in range(24)]
    assert all(play(task, "asking") for task in tasks)
    assert sum(play(task, "guessing") for task in tasks) <= 2
