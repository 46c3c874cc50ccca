"""Held out means held out: the start policy's corpus has no program, sentence or question of what is measured later."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

import pytest

from settings import Settings
from tasks.answers import answer_in
from tasks.colbench import Task
from tasks.decisions import Family
from tasks.dialogue import Message
from tasks.families import FAMILIES
from tasks.lookup import find_task
from tasks.own_backend import HeldOut
from tasks.programs import program_in
from training.config import FAMILIES_KNOWN, Habits
from training.messages import HIDDEN
from training.recipe import Recipe
from training.tiny import corpus, make_tokenizer

READ = 1_500  # dialogues; a start policy reads twenty times as many
KNOWN, NEW = FAMILIES[:FAMILIES_KNOWN], FAMILIES[FAMILIES_KNOWN:]


@pytest.fixture(scope="module")
def later() -> list[Task]:
    """What the policies are trained and measured on, a part of each."""
    recipe = Recipe()
    sets = [recipe.train.ids(), *recipe.test_sets().values()]
    return [find_task(id, Settings()) for id in chain(*(ids[:60] for ids in sets))]


def dialogues(held_out: HeldOut, count: int) -> list[Message]:
    """The messages of the corpus."""
    return [m for d in islice(corpus(0, Recipe().train.difficulties, 8, Habits(), held_out), count) for m in d]


@pytest.fixture(scope="module")
def read(later: list[Task]) -> list[Message]:
    return dialogues(HeldOut(later), READ)


def programs(messages: list[Message]) -> Iterator[str]:
    """The programs that are answered, and those that are shown as hidden."""
    for message in messages:
        text = message["content"]
        if message["role"] == "assistant" and (answer := answer_in(text)) is not None:
            yield program_in(answer)
        elif HIDDEN in text:
            shown = text[text.index(HIDDEN) :]
            yield shown[min(at for mark in ("import math", "def ") if (at := shown.find(mark)) >= 0) :]


def function_of(program: str) -> str:
    return next(node.name for node in ast.parse(program).body if isinstance(node, ast.FunctionDef))


def test_no_program_of_the_corpus_behaves_or_is_written_like_a_held_out_one(
    later: list[Task], read: list[Message]
) -> None:
    held_out, trees = HeldOut(later), {ast.dump(ast.parse(task.ground_truth)) for task in later}
    found = list(programs(read))
    assert len(found) > READ
    for program in found:
        assert not held_out.hold(program, function_of(program))
        assert ast.dump(ast.parse(program)) not in trees


def test_what_is_held_out_would_otherwise_be_read(later: list[Task]) -> None:
    """The test above can fail: what a corpus answers is gone from it once it is held out, however it is written."""
    calls = {task.function: task.calls for task in later}
    before = set(programs(dialogues(HeldOut([]), 60)))
    held_out = HeldOut(replace(later[0], ground_truth=p, calls=calls[function_of(p)]) for p in before)
    assert all(held_out.hold(p, function_of(p)) for p in before)
    assert not before & set(programs(dialogues(held_out, 60)))
    program = next(p for p in before if "total = sum" in p)
    assert held_out.hold(program.replace("total = sum", "total = 0 + sum"), function_of(program))


def sentences(family: Family, last: bool) -> set[str]:
    """Its questions and statements: those that are held out, or all."""
    which = slice(-1, None) if last else slice(None)
    questions = {q for d in family.decisions for q in d.questions[which]}
    return questions | {s for d in family.decisions for o in d.options for s in o.statements[which]}


def test_no_sentence_of_a_new_family_or_of_the_held_out_phrasing_is_read(read: list[Message]) -> None:
    said = "\n".join(message["content"] for message in read)
    for family in NEW:
        assert family.wish not in said
        assert not [text for text in sentences(family, last=False) if text in said]
    for family in KNOWN:
        assert family.wish in said
        assert not [text for text in sentences(family, last=True) if text in said]
        assert sum(text in said for text in sentences(family, last=False)) > 60, "the known ones are"


def test_a_question_is_several_tokens(read: list[Message]) -> None:
    """Or length normalisation would have nothing to do."""
    tokenizer = make_tokenizer((m["content"] for m in read[:9_000]), Recipe().tiny.vocabulary, 8)
    questions = [q for family in KNOWN for d in family.decisions for q in d.questions[:-1]]
    lengths = [len(tokenizer.tokenize(question)) for question in questions]
    assert min(lengths) >= 4
    assert len(set(lengths)) > 4, "of several lengths"


def test_new_families_are_none_that_are_learnt_from() -> None:
    with pytest.raises(ValueError, match="new_families begins with family 3, which train has too"):
        Recipe.from_json('{"train": {"families": 12}}', "r").check_held_out()
    assert {find_task(id, Settings()).function for id in Recipe().new_families.ids()} == {f.function for f in NEW}
    assert "new_families" not in Recipe.from_json('{"new_families": {"count": 0}}', "r").test_sets()
