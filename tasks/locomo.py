"""Reads LoCoMo (Maharana et al. 2024): long two-person conversations, with questions, answers and the turns they come from."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.hotpotqa import normalised
from tasks.msc import STEMMER

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}


@dataclass(frozen=True)
class Utterance:
    """One turn of talk."""

    id: str
    session: int
    speaker: str
    text: str
    time: datetime
    """Of its session."""


@dataclass(frozen=True)
class LocomoQuestion:
    """One question; evidence as indices into the conversation's turns."""

    text: str
    answer: str
    """Empty for an adversarial question: nobody said that."""
    category: int
    evidence: frozenset[int]
    audited: frozenset[int]
    """The same after the public audit's corrections."""


@dataclass(frozen=True)
class Conversation:
    """One conversation; `speakers` as in the file: the first is taken for the person, the second for the agent."""

    name: str
    speakers: tuple[str, str]
    turns: list[Utterance]
    questions: list[LocomoQuestion]


def read_locomo(path: Path, audit: Path | None = None) -> list[Conversation]:
    """Read a LoCoMo file, and the corrections of dial481/locomo-audit. Raises ValueError for a file of another shape."""
    rows = _json(path)
    corrections = {c["question_id"]: c["correct_evidence"] for c in _json(audit)} if audit else {}
    if not isinstance(rows, list) or not all(isinstance(r, dict) and {"conversation", "qa"} <= set(r) for r in rows):
        raise ValueError(f"{path} is not a LoCoMo file: a list of objects with `conversation` and `qa` is expected.")
    return [_conversation(number, row, corrections) for number, row in enumerate(rows)]


def answer_f1(reply: str, question: LocomoQuestion) -> float:
    """F1 of stemmed words, as LoCoMo counts it: the parts of a multi-hop answer apart, of an open one what stands before `;`.

    Departures: (1) words are normalised as HotpotQA's, and stemmed by Snowball's English stemmer, the heir of Porter's.
    """
    if question.category == 1:
        given = reply.split(",")
        wanted = question.answer.split(",")
        return sum(max(_f1(part, one) for part in given) for one in wanted) / len(wanted)
    return _f1(reply, question.answer.split(";")[0] if question.category == 3 else question.answer)


def _f1(reply: str, answer: str) -> float:
    given, wanted = ([STEMMER.stem_word(w) for w in normalised(text).split()] for text in (reply, answer))
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted)) if common else 0.0


def _conversation(number: int, row: dict[str, Any], corrections: dict[str, list[str]]) -> Conversation:
    talk = row["conversation"]
    turns = list(_turns(talk))
    index = {turn.id: n for n, turn in enumerate(turns)}

    def located(evidence: list[str]) -> frozenset[int]:
        # Some strings hold several ids, and some point nowhere.
        ids = [i for text in evidence for i in re.findall(r"D\d+:\d+", str(text))]
        return frozenset(index[i] for i in ids if i in index)

    questions = []
    for n, qa in enumerate(row["qa"]):
        public = qa.get("evidence") or []
        audited = corrections.get(f"locomo_{number}_qa{n}", public)
        questions.append(
            LocomoQuestion(
                str(qa["question"]), str(qa.get("answer", "")), int(qa["category"]), located(public), located(audited)
            )
        )
    name = str(row.get("sample_id", number))
    return Conversation(name, (talk["speaker_a"], talk["speaker_b"]), turns, questions)


def _turns(talk: dict[str, Any]) -> Iterator[Utterance]:
    session = 1
    while f"session_{session}" in talk:
        stated = str(talk[f"session_{session}_date_time"]).replace(",", "")
        time = datetime.strptime(stated, "%I:%M %p on %d %B %Y").replace(tzinfo=UTC)
        for row in talk[f"session_{session}"]:
            caption = f" [shares {row['blip_caption']}]" if row.get("blip_caption") else ""
            yield Utterance(row["dia_id"], session, row["speaker"], row["text"] + caption, time)
        session += 1


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"There is no file {path}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}).") from None
