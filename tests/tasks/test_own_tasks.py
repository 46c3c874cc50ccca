"""Our own tasks: the same for ever, split without a shared decision, solvable by asking and not by guessing."""

import ast
from collections import Counter
from itertools import permutations

import pytest

from evaluation.own_tasks import play
from evaluation.scripted_agents import open_decisions
from sandbox.python import shared_sandbox
from tasks.backend_score import BackendScorer
from tasks.colbench import Fact, Task, task_of
from tasks.families import FAMILIES, SPLITS
from tasks.own_backend import make_task, make_tasks
from tasks.own_frontend import DECISIONS, make_page
from tasks.person import Manner, answer_from_facts

ALL = [(f.name, f.decisions) for f in FAMILIES] + [("page", DECISIONS)]


@pytest.mark.parametrize(("name", "decisions"), ALL, ids=[name for name, _ in ALL])
def test_each_question_is_understood_and_no_statement_hides_in_another(
    name: str, decisions: tuple[object, ...]
) -> None:
    facts = tuple(Fact(d.key, "", f"<{d.key}>", d.keywords) for d in decisions)  # type: ignore[attr-defined]
    task = Task("t", "backend", "d", "", facts=facts)
    for decision in decisions:
        told = answer_from_facts(task, decision.question, [], Manner(), 0)  # type: ignore[attr-defined]
        assert told.startswith(f"<{decision.key}>"), decision.question  # type: ignore[attr-defined]
    statements = [o.statement for d in decisions for o in d.options]  # type: ignore[attr-defined]
    assert not [(a, b) for a, b in permutations(statements, 2) if a in b]
    for decision in decisions:
        train, test = (decision.of_split(split) for split in SPLITS)  # type: ignore[attr-defined]
        assert len(train) > 1
        assert len(test) > 1
        assert not set(train) & set(test)


def test_tasks_are_the_same_for_ever_and_the_splits_share_no_decision() -> None:
    assert make_task("train", 3, 5) == make_task("train", 3, 5)
    assert make_page("test", 6, 5) == make_page("test", 6, 5)
    decisions = {
        split: {
            (f.key, f.value) for n in range(60) for f in (*make_task(split, 3, n).facts, *make_page(split, 6, n).facts)
        }
        for split in SPLITS
    }
    assert not decisions["train"] & decisions["test"]
    assert task_of(make_task("train", 2, 1).to_row(), "x") == make_task("train", 2, 1)
    for wrong in (0, 6):
        with pytest.raises(ValueError, match="difficulty"):
            make_task("train", wrong, 0)


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4, 5])
def test_truth_passes_constants_do_not_and_hidden_decisions_stay_hidden(difficulty: int) -> None:
    scorer = BackendScorer(shared_sandbox())
    for task in make_tasks("test", 24, difficulty, seed=100):
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
