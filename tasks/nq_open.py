"""NQ-Open with gold passages (Kwiatkowski et al. 2019; Liu et al. 2023): questions to a search engine, and what answers each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.hotpotqa import normalised
from text import read_rows


@dataclass(frozen=True)
class Passage:
    """A part of an article."""

    title: str
    text: str


@dataclass(frozen=True)
class OpenQuestion:
    """A question, each of whose `answers` is right."""

    text: str
    answers: tuple[str, ...]
    gold: Passage


def read_nq_open(path: Path) -> list[OpenQuestion]:
    """The questions of a file, JSON lines with `question`, `answers` and `ctxs`. Raises ValueError, naming the line."""

    def question_of(row: Any) -> OpenQuestion:
        (gold,) = [passage for passage in row["ctxs"] if passage.get("isgold")]
        return OpenQuestion(str(row["question"]), tuple(map(str, row["answers"])), Passage(gold["title"], gold["text"]))

    return list(read_rows(path, question_of))


def is_right(reply: str, answers: Sequence[str]) -> bool:
    """Whether an answer stands in the reply, both normalised as HotpotQA's are.

    >>> is_right("It was the  RED planet.", ["Red Planet"]), is_right("Redness", ["red"])
    (True, False)
    """
    return any(f" {normalised(answer)} " in f" {normalised(reply)} " for answer in answers)
