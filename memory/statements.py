"""Statements that say the same, and statements that take the place of another: told by their words and their vectors.

Rules for English, made to be right rather than complete: what is taken for the same is put under the memory that is there, so two
statements that differ in a name, a number, a "not" or in what they speak of stay two. Of other languages only equal texts are one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memory.minilm import Floats
from memory.words import ENGLISH, language_of, stems_of
from text import folded

NEAR = 0.7
"""Cosine from which two statements may be the same."""
ALIKE = 0.55
"""Cosine of two words, from which one may stand for the other: kids and children, bought and purchased."""
SYNONYMS = 0.8
"""The same where it is the only difference: a cat and a dog are alike, and not the same."""
SAME_FRAME = 0.5
"""Share of their words that a statement has in common with the one whose place it takes."""
WORD = re.compile(r"\w+")
LIGHT = frozenset(
    "a an the my your his her its their our i you he she it they we me him them us of to in on at by for with and or that this "
    "is am are was were be been being do does did have has had got from as who whom whose which what when where there really "
    "very so than then myself yourself himself person user s call called name named now".split()
)
AVERSE = re.compile(
    r"n't\b|\b(?:no|not|never|cannot|without|neither|nor|hates?|hated|dislikes?|disliked|detests?|loathes?|stand|avoids?|afraid|"
    r"fears?|scared|frightens?|quit|stop(?:s|ped)?|lost|former|ex|used to|any ?more|no longer)\b"
)
"""Turns what is said about."""
HOLDS_ONE = re.compile(
    r"\b(?:liv(?:e[sd]?|ing) (?:in|at)|home is (?:in|at)|work(?:s|ed|ing)? (?:as|at|for)|job is|employed (?:as|at|by)|"
    r"(?:my|person's) name is|years old|favou?rite \w+ (?:is|are)|birthday is|married to|engaged to|weighs?|"
    r"(?:number|address|e-?mail|password|salary|budget|deadline|status) is|due (?:on|at|in)|"
    r"(?:meeting|appointment|flight|train|class|party) (?:is|starts|begins|leaves) (?:at|on))\b"
)
"""Of what is said so, one thing holds at a time: whoever lives in another town now does not live in the first one."""
ENDS = re.compile(r"\b(?:no longer|quit|stopped|gave up|used to)\b|(?:\bnot|n't)\b.*\bany ?more\b")
"""Says that something has come to its end."""
PAST = re.compile(
    r"\b(?:used to|before|previous(?:ly)?|former(?:ly)?|earlier|(?:my|your|the) old|once|back then|at the time|originally|at first|"
    r"(?:19|20)\d\d|last (?:year|month|week))\b"
)
"""Asks about what held then."""


@dataclass(frozen=True)
class Statement:
    """A short text, and its unit vector."""

    text: str
    vector: Floats

    @cached_property
    def lower(self) -> str:
        """Compared without letter case."""
        return folded(self.text)

    @cached_property
    def spoken(self) -> list[str]:
        """All its words, in their order."""
        return WORD.findall(self.lower)

    @cached_property
    def words(self) -> dict[str, str]:
        """Its words that mean something, by their stems, in their order."""
        spoken = [word for word in WORD.findall(self.lower) if word not in LIGHT and not word.isdigit()]
        return {next(iter(stems_of(word)), word): word for word in spoken}

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Words with a digit."""
        return frozenset(word for word in WORD.findall(self.lower) if any(map(str.isdigit, word)))

    @cached_property
    def names(self) -> frozenset[str]:
        """Words with a capital letter, but for the first: it would have one anyway."""
        return frozenset(folded(word) for word in WORD.findall(self.text)[1:] if word[0].isupper() and word != "I")

    @property
    def is_averse(self) -> bool:
        """Whether it says no, or dislikes."""
        return AVERSE.search(self.lower) is not None

    @property
    def is_english(self) -> bool:
        """Whether the rules are for it."""
        return language_of(self.text) == ENGLISH


@dataclass(frozen=True)
class Judge:
    """Compares statements."""

    embed: Callable[[list[str]], Floats]
    frequent: frozenset[str]
    """Words of which the vector of the whole says better what they mean."""

    @staticmethod
    def equal(new: Statement, old: Statement) -> bool:
        """Whether they have the same words, but for letter case and signs."""
        return new.spoken == old.spoken

    def same(self, new: Statement, old: Statement) -> bool:
        """Whether the new one says what the old one says."""
        if self.equal(new, old):
            return True
        if not (new.is_english and old.is_english) or new.numbers != old.numbers or new.is_averse != old.is_averse:
            return False
        if not (new.names <= set(WORD.findall(old.lower)) and old.names <= set(WORD.findall(new.lower))):
            return False
        mine, theirs = _only(new.words, old.words), _only(old.words, new.words)
        shared = new.words.keys() & old.words.keys()
        if float(new.vector @ old.vector) < NEAR or not (shared or new.numbers):
            return False
        if len(mine) == len(theirs) == 1 and _frame(new, shared) == _frame(old, shared):
            return self._near(mine[0], theirs) >= SYNONYMS
        frequent = self.frequent if mine and theirs else frozenset()  # a word more may say something more
        return self._explained(mine, old, frequent) and self._explained(theirs, new, frequent)

    def replaces(self, new: Statement, old: Statement) -> bool:
        """Whether the old one does not hold any more if the new one does."""
        shared = new.words.keys() & old.words.keys()
        mine, theirs = _only(new.words, old.words), _only(old.words, new.words)
        if not (new.is_english and old.is_english) or not shared:
            return False
        if ENDS.search(new.lower) and not ENDS.search(old.lower):  # "no longer lives in Ghent"
            return not theirs and new.numbers >= old.numbers
        if new.is_averse != old.is_averse or not HOLDS_ONE.search(new.lower) or not HOLDS_ONE.search(old.lower):
            return False
        if len(shared) < SAME_FRAME * min(len(new.words), len(old.words)):
            return False
        if not mine and not theirs:
            return new.numbers != old.numbers
        # What differs must be what is said of the rest: a dog of that name does not take a cat's place.
        says = len(mine) == 1 and mine == [*new.words.values()][-1:] and theirs == [*old.words.values()][-1:]
        return says and _frame(new, shared) == _frame(old, shared)

    def _explained(self, words: list[str], other: Statement, frequent: frozenset[str]) -> bool:
        """Whether each of the words that only one has is a frequent one, or alike to one of the other's."""
        rare = [word for word in words if word not in frequent]
        return all(self._near(word, list(other.words.values())) >= ALIKE for word in rare)

    def _near(self, word: str, others: list[str]) -> float:
        vectors = self.embed([word, *others])
        return float(np.max(vectors[1:] @ vectors[0], initial=0.0))


def asks_about_then(query: str) -> bool:
    """Whether a query asks what held before."""
    return PAST.search(folded(query)) is not None


def _only(these: Mapping[str, str], those: Mapping[str, str]) -> list[str]:
    return [word for stem, word in these.items() if stem not in those]


def _frame(statement: Statement, shared: set[str]) -> list[str]:
    """The shared words in their order."""
    return [stem for stem in statement.words if stem in shared]
