"""HotpotQA, distractor setting (Yang et al. 2018): questions over ten Wikipedia paragraphs each, and the scores of its paper.

Reads a user's own copy, JSON lines with question, answer, supporting_facts and context.
"""

import re
import string
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from text import read_rows


@dataclass(frozen=True)
class HotpotQuestion:
    """One question with its pages."""

    text: str
    answer: str
    pages: dict[str, str]
    """Text by title."""
    supporting: list[str]
    """Titles of the pages that hold the answer."""


def read_hotpotqa(path: Path) -> list[HotpotQuestion]:
    """The questions of a file. Raises ValueError, naming the line."""

    def question_of(row: Any) -> HotpotQuestion:
        context = row["context"]
        pages = {t: "".join(s) for t, s in zip(context["title"], context["sentences"], strict=True)}
        return HotpotQuestion(
            row["question"], row["answer"], pages, list(dict.fromkeys(row["supporting_facts"]["title"]))
        )

    return list(read_rows(path, question_of))


def normalised(answer: str) -> str:
    """Lower case, without punctuation, articles and extra spaces, as the official script compares."""
    answer = "".join(c for c in answer.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", answer).split())


def exact_match(answer: str, expected: str) -> bool:
    """Whether the two are equal when normalised."""
    return normalised(answer) == normalised(expected)


def f1(answer: str, expected: str) -> float:
    """Harmonic mean of the shares of common words; yes, no and "noanswer" only count whole."""
    given, wanted = normalised(answer), normalised(expected)
    if given != wanted and {given, wanted} & {"yes", "no", "noanswer"}:
        return 0.0
    words, right = given.split(), wanted.split()
    common = sum((Counter(words) & Counter(right)).values())
    if not common:
        return 0.0
    precision, recall = common / len(words), common / len(right)
    return 2 * precision * recall / (precision + recall)
