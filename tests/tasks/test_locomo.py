"""LoCoMo's F1 of an answer."""

import pytest

from tasks.locomo import LocomoQuestion, answer_f1


@pytest.mark.parametrize(
    ("category", "expected", "reply", "f1"),
    [
        (4, "7 May 2023", "7 May 2023.", 1.0),
        (4, "running", "She runs", 2 / 3),
        (4, "a dog", "cat", 0.0),
        (4, "a dog", "", 0.0),
        (1, "pottery, camping", "camping, painting", 0.5),
        (1, "pottery, camping", "pottery and camping", 0.5),
        (3, "Yes; she said so", "yes", 1.0),
        (2, "2022", "2022", 1.0),
    ],
)
def test_f1(category: int, expected: str, reply: str, f1: float) -> None:
    question = LocomoQuestion("?", expected, category, frozenset(), frozenset())
    assert answer_f1(reply, question) == pytest.approx(f1)
