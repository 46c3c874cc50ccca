"""Questions of NQ-Open, and what counts as their answer."""

import json
from pathlib import Path

import pytest

from tasks.nq_open import Passage, is_right, read_nq_open


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("The Red Planet, I think.", True), ("the red-planet", False), ("It is Mars!", True), ("Marsh", False), ("", False),
        ("red planets", False),
    ],
)  # fmt: skip
def test_a_reply_is_right_where_it_holds_an_answer_as_whole_words(reply: str, right: bool) -> None:
    assert is_right(reply, ["Mars", "red planet"]) is right


def test_the_gold_passage_is_read(tmp_path: Path) -> None:
    file = tmp_path / "nq.jsonl"
    passages = [{"title": "A", "text": "no"}, {"title": "B", "text": "yes", "isgold": True}]
    file.write_text(json.dumps({"question": "which", "answers": ["yes"], "ctxs": passages}) + "\n")
    (question,) = read_nq_open(file)
    assert (question.text, question.answers, question.gold) == ("which", ("yes",), Passage("B", "yes"))


def test_a_row_without_a_gold_passage_is_refused_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "nq.jsonl"
    file.write_text('{"question": "which", "answers": ["yes"], "ctxs": []}\n')
    with pytest.raises(ValueError, match=r"nq\.jsonl, line 1"):
        read_nq_open(file)
