"""Multi-Session Chat (Xu et al. 2021): two people talk over several sessions, and questions about what one of them said.

The MemGPT paper (§3.1.1) had a model write its questions. Here none is needed: what a person says of themselves is in the data as
a fact, and a template turns it into a question of the same person ("I work as a welder." → "What do I work as?").
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_rust_stemmers import SnowballStemmer
from rapidfuzz.distance import LCSseq

from text import read_rows

PERSON, AGENT = "A", "B"
"""Who asks in the end, and who is asked, as the file names the speakers."""
NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())}
VERBS = "drive teach coach collect speak own drink eat watch read study cook grow sell make build run hunt paint raise".split()
STUDIES = r"(?:am studying|study|studied|majored in|am majoring in)"
TEMPLATES = [
    ("who", r"My name is (?P<answer>.+)", "What is my name?"),
    ("who", r"My (?P<thing>dog|cat|son|daughter|wife|husband|brother|sister)(?:'s name is| is (?:named|called)) (?P<answer>.+)",
     "What is the name of my {thing}?"),
    ("where", r"I live (?:in|near|by|at|on) (?P<answer>.+)", "Where do I live?"),
    ("where", r"I(?: am|'m) (?:originally )?from (?P<answer>.+)", "Where am I from?"),
    ("where", r"I grew up in (?P<answer>.+)", "Where did I grow up?"),
    ("where", r"I work (?:part[- ]time |full[- ]time )?(?:in|at|for) (?P<answer>.+)", "Where do I work?"),
    ("what", r"I work (?:part[- ]time |full[- ]time )?as (?P<answer>.+)", "What do I work as?"),
    ("what", r"My favou?rite (?P<thing>[\w ]+?) (?:is|are) (?P<answer>.+)", "What is my favorite {thing}?"),
    ("what", r"(?P<answer>(?!I )[\w' ]+) is my favou?rite (?P<thing>[\w ]+)", "What is my favorite {thing}?"),
    ("what", rf"I {STUDIES} (?P<answer>.+)", "What have I studied?"),
    ("what", r"I play (?P<answer>.+)", "What do I play?"),
    ("what", r"I want to (?P<thing>be|become|move to|visit|learn) (?P<answer>.+)", "What do I want to {thing}?"),
    ("what", r"My (?P<thing>wife|husband|mother|mom|father|dad|brother|sister|son|daughter) is (?P<answer>.+)",
     "What did I tell you about my {thing}?"),
    ("how many", rf"I have (?P<answer>{'|'.join(NUMBERS)}|\d+) (?P<thing>[a-z]+(?: [a-z]+)?)", "How many {thing} do I have?"),
    ("how many", r"I(?: am|'m) (?P<answer>\d+)(?: years old)?", "How old am I?"),
    ("like", r"I (?:really )?(?:like|love|enjoy) (?P<answer>.+)", "Name one thing that I like."),
    ("dislike", r"I (?:do not|don't) like (?P<answer>.+)", "Name one thing that I do not like."),
    *(("what", rf"I {verb} (?P<answer>.+)", f"What do I {verb}?") for verb in VERBS),
]  # fmt: skip
"""(kind, a fact as a whole sentence, the question)."""
STATEMENTS = re.compile(r"(?<=[.!?]) |,? (?:and|but|because|since|so|when) (?=(?:I|my|he|she|it|they)\b)")
"""What stands between two statements of a fact."""
ASIDE = re.compile(r" (?:in|at|with|for|on) my ")
"""Begins what an answer need not repeat: "a shelter in my town"."""
LONGEST = 6
"""Words of an answer: a longer one is rather a story, which nobody retells word for word."""
STOPS = frozenset("a an the my some of to in on at for and or is are be with it that very really".split())
STEMMER = SnowballStemmer("english")


@dataclass(frozen=True)
class MscTurn:
    """One turn of talk; sessions count from 0."""

    session: int
    speaker: str
    text: str


@dataclass(frozen=True)
class MscQuestion:
    """A question of the person; each of `answers`, facts in their own words, is right."""

    text: str
    kind: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class MscDialogue:
    """A dialogue of several sessions."""

    id: str
    personas: tuple[tuple[str, ...], ...]
    """Sentences that describe the person and the agent."""
    turns: tuple[MscTurn, ...]
    questions: tuple[MscQuestion, ...]


def read_msc(path: Path) -> list[MscDialogue]:
    """The dialogues of a file, JSON lines with `id`, `personas` and `sessions`. Raises ValueError, naming the line."""
    return list(read_rows(path, _dialogue))


def _dialogue(row: Any) -> MscDialogue:
    turns = tuple(
        MscTurn(n, str(turn["speaker"]), str(turn["text"]))
        for n, session in enumerate(row["sessions"])
        for turn in session
    )
    facts = [
        str(turn["fact"])
        for session in row["sessions"][:-1]
        for turn in session
        if turn["speaker"] == PERSON and turn.get("fact")
    ]
    last = " ".join(turn.text for turn in turns if turn.session == len(row["sessions"]) - 1)
    questions = [q for q in questions_of(facts) if not any(holds(last, answer) for answer in q.answers)]
    personas = tuple(tuple(map(str, sentences)) for sentences in row["personas"])
    return MscDialogue(str(row["id"]), personas, turns, tuple(questions))


def questions_of(facts: list[str]) -> list[MscQuestion]:
    """What the facts answer, each question once, in the order of the facts.

    >>> questions_of(["I have two cats. I like tea.", "I love walks."])[1]
    MscQuestion(text='Name one thing that I like.', kind='like', answers=('tea', 'walks'))
    """
    answers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for fact in facts:
        for statement in STATEMENTS.split(fact):
            for kind, question, answer in _matches(statement.strip().rstrip(".!")):
                answers[kind, question].append(answer)
    return [MscQuestion(text, kind, tuple(dict.fromkeys(found))) for (kind, text), found in answers.items()]


def _matches(sentence: str) -> Iterator[tuple[str, str, str]]:
    """The first template that a sentence fits."""
    for kind, pattern, question in TEMPLATES:
        if found := re.fullmatch(pattern, sentence, re.IGNORECASE):
            answer = ASIDE.split(found["answer"])[0].strip()
            if stems(answer) and len(answer.split()) <= LONGEST:
                yield kind, question.format(thing=found.groupdict().get("thing", "")), answer
            return


def stems(text: str) -> list[str]:
    """The words of a text as answers are compared: stemmed, numbers as digits, without the smallest words."""
    words = re.findall(r"[\w']+", text.lower())
    return [STEMMER.stem_word(NUMBERS.get(word, word)) for word in words if word not in STOPS]


def holds(text: str, answer: str) -> bool:
    """Whether every word of the answer stands in the text.

    >>> holds("You told me you have 2 cats!", "two cats"), holds("You have cats.", "two cats")
    (True, False)
    """
    return set(stems(answer)) <= set(stems(text))


def rouge_l_recall(text: str, answer: str) -> float:
    """The share of the answer's words that stand in the text in the same order (ROUGE-L, recall), stemmed."""
    wanted = stems(answer)
    return LCSseq.similarity(wanted, stems(text)) / len(wanted)
