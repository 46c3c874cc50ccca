"""Simulated people: one that knows single facts and needs no model, and what every simulated person's reply is checked for.

reply = answer_from_facts(task, "Which currency?", turns=[], behaviour=PersonBehaviour(), seed=0)

The one without a model answers a question, not words: a reply that asks about one thing, in one sentence, gets the fact about that
thing. So one and the same string, said at every turn, never draws out two facts.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tasks.colbench import Fact, Task
from tasks.dialogue import Turn, said_by
from tasks.kinds import ENVIRONMENTS

MOST_SENTENCES = 2
"""Of a person's reply."""
MOST_CHARACTERS = 400
UNKNOWN = "I have no answer to that, as you put it."
NOTHING_ASKED = "That sounds fine so far."
ONE_THING = "One thing at a time, please."
STATED = "I have said that in my request."
REPEATED = "I have told you that already."
TIRED = "I have answered enough questions. Please write it now."
VAGUE = "It depends. Could you ask me more exactly?"
FORGOTTEN = "I do not remember that right now. Please ask me again."
RESAMPLES = 4
LONG = 10  # tokens of code that are no accident
OPERATORS = re.compile(r"[-+*/%=<>!&|^~]+|\b(?:and|or|not|in|is|if|else|return|lambda)\b")
TOKENS = re.compile(r"\w+|[^\w\s]")
SIGNATURE = re.compile(
    r"\bdef\s+\w+\s*\(|\bclass\s+\w+\s*(?:\([\w., ]*\))?\s*:\s*$|\blambda\s*\w*\s*:|\breturn\s+\w+\s*(?:[-+*/<>=(\[]|if\b)"
    r"|\bfrom\s+\w+\s+import\s|^\s*import\s+\w+\s*$|\bclass=\"",
    re.M,
)
TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]*)?/?>")
SENTENCE_END = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.?!？\n])[\"'*_`)\]]*\s+")
OPENS = re.compile(
    r"\W*(?:(?:and|so|then|ok|in|at|from|by|to|of|after|for|with) )?"
    r"(?:how|what|which|who|whose|when|where|is there|are there|does|do|should|shall|is the|are the)\b",
    re.I,
)
"""How a question begins that has no mark at its end."""
ASKS = re.compile(
    r"\b(?:tell me|let me know|please (?:say|describe|explain|specify|clarify)|i (?:need|want|would like) to know)\b",
    re.I,
)
WORDS = re.compile(r"[a-z]+|\b0\b")
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>")
JOINED = re.compile(r"[,;:/&+]|\b(?:and|also|plus|as well as)\b", re.I)
"""What joins two questions into one sentence."""
MOST_QUESTIONS = 2
"""Sentences that ask, of a reply that may still be about one thing."""
MOST_WORDS = 30
"""Words of a sentence that is one question."""
MOST_BARE = 4
"""Words that say something, of a sentence in which hardly any others hold them together: more are a heap."""
LEAST_GRAMMAR = 0.3
"""Share of the words of a longer question that hold it together."""
GRAMMAR = frozenset(
    (
        "a about after again all already am an and any are as at be been before being but by can could did do does doing down "
        "each else every first for from get gets give given had has have how i if in into is it its just last let like made "
        "make many may me mean might more most much must my need no not now of off often on once one only or other our out over "
        "own per please put right said same say shall she should show so some such tell than that the their them then there "
        "these they thing this those to too two up us use used want was way we well were what when where which while who whom "
        "whose why will with without would you your yours"
    ).split()
)
"""Words that hold a sentence together."""
NEAR = 0.5
"""Share of the best fact's weight, from which a second one that a sentence also names is asked for too."""

Leak = Literal["", "fence", "signature", "tag", "ngram"]


@dataclass(frozen=True)
class PersonBehaviour:
    """How a simulated person without a model behaves. Raises ValueError, naming the field."""

    patience: int = 0
    """Questions it answers; 0: without end."""
    vagueness: float = 0.1
    """How often it answers a question only when it is asked again."""
    forgetfulness: float = 0.1
    """Share of the facts that come to its mind only when it is asked again."""

    def __post_init__(self) -> None:
        if self.patience < 0:
            raise ValueError(f"patience={self.patience!r} cannot work: use 0 for no end, or a number of questions.")
        for name in ("vagueness", "forgetfulness"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} cannot work: use a share from 0 to 1.")


def answer_from_facts(task: Task, said: str, turns: Sequence[Turn], behaviour: PersonBehaviour, seed: int) -> str:
    """What the person replies to `said`, after these turns. The same for the same arguments.

    A question is answered with the one fact that it is about; a web page that is shown, with one that it lacks.
    """
    replies = said_by("person", turns)
    if behaviour.patience and sum(reply not in (NOTHING_ASKED, VAGUE) for reply in replies) >= behaviour.patience:
        return TIRED
    page = ENVIRONMENTS[task.kind].artefact(said)
    fact, otherwise = asked_for(task, said)
    told = told_facts(task, replies)
    if page and fact is None:
        from tasks.page_differences import seen  # takes half a second to import, which only pages need

        return seen(task, page, told)
    if fact is None:
        return otherwise
    if fact in task.stated:
        return STATED
    if fact.key in told:
        return REPEATED
    if not any(asked_for(task, earlier)[0] == fact for earlier in said_by("agent", turns)):
        rng = random.Random(f"{task.task_id} {fact.key} {seed}")  # noqa: S311
        if rng.random() < behaviour.forgetfulness:
            return FORGOTTEN
        if rng.random() < behaviour.vagueness:
            return VAGUE
    return fact.statement


@lru_cache(maxsize=4096)
def asked_for(task: Task, said: str) -> tuple[Fact | None, str]:
    """The one fact that is asked for; without one, what the person says instead."""
    page = ENVIRONMENTS[task.kind].artefact(said)
    sentences = SENTENCE_END.split(MARKUP.sub(" ", said.replace(page, " ") if page else said).strip())
    questions = [s for s in sentences if s.strip().rstrip("\"'*_`)]!").endswith(("?", "？")) or ASKS.search(s)]
    if not questions and OPENS.match(sentences[-1]):
        questions = sentences[-1:]
    if not questions:
        return None, NOTHING_ASKED
    found: list[Fact] = []
    if len(questions) > MOST_QUESTIONS or any(map(_is_heap, questions)):
        return None, ONE_THING
    for question in questions:
        found += [fact for fact in _asked((*task.facts, *task.stated), question) if fact not in found]
    if len(found) == 1:
        return found[0], ""
    return None, ONE_THING if found else UNKNOWN


def _is_heap(question: str) -> bool:
    """Whether it is words that nothing holds together, the same ones again, or too many."""
    words = WORDS.findall(question.lower())
    bare = [stem(word) for word in words if word not in GRAMMAR]
    repeated = len(bare) - len(set(bare))
    loose = len(bare) > MOST_BARE and len(words) - len(bare) < LEAST_GRAMMAR * len(words)
    return len(words) > MOST_WORDS or repeated > 2 or loose


def _asked(facts: Sequence[Fact], question: str) -> list[Fact]:
    """The facts that a sentence asks for, best first: by the words that they share, of which one that few facts have says more.

    A second one is asked for where the sentence joins two, and has words of its own for it. Facts that are equally near are none.
    """
    of, rarity = _keywords(tuple(facts))
    words = {stem(word) for word in WORDS.findall(question.lower())}

    def ranked(words: set[str]) -> list[tuple[float, Fact]]:
        weighed = [(sum(own[word] / rarity[word] for word in words & own.keys()), fact) for fact, own in of.items()]
        return sorted((w for w in weighed if w[0]), key=lambda w: -w[0])

    found, joined = ranked(words), JOINED.search(question)
    if not found or (len(found) > 1 and found[0][0] == found[1][0] and not joined):
        return []
    best, fact = found[0]
    rest = ranked(words - of[fact].keys()) if joined else []
    return [fact, *(other for weight, other in rest if weight >= max(1.0, NEAR * best))]


@lru_cache(maxsize=1024)
def _keywords(facts: tuple[Fact, ...]) -> tuple[dict[Fact, dict[str, int]], Counter[str]]:
    """The stems of each fact's keywords with their weights, and of how many facts each is one."""
    of: dict[Fact, dict[str, int]] = {fact: {} for fact in facts}
    for fact, own in of.items():
        for word, times in Counter(WORDS.findall(" ".join(fact.keywords).lower())).items():
            own[stem(word)] = max(times, own.get(stem(word), 0))
    return of, Counter(word for own in of.values() for word in own)


@lru_cache(maxsize=10_000)
def stem(word: str) -> str:
    """A word without its ending, roughly: what a question and a keyword are compared by.

    >>> [stem(w) for w in ("rounded", "rounding", "capped", "cap", "prices", "price", "0")]
    ['round', 'round', 'cap', 'cap', 'pric', 'pric', 'zero']
    """
    if word == "0":
        return "zero"
    for ending in ("ings", "ing", "ed", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def told_facts(task: Task, replies: Sequence[str]) -> list[str]:
    """Keys of the facts that a person's replies hold, word for word."""
    whole = "\n".join(replies)
    return [fact.key for fact in task.facts if fact.statement in whole]


def leak_in(reply: str, reference: str) -> Leak:
    """Which kind of code of the hidden reference a reply gives away, if any.

    A fence, a signature, a tag, or ten tokens in a row that the reference has too and of which two are operators.
    """
    if "```" in reply or "~~~" in reply:
        return "fence"
    if TAG.search(reply):
        return "tag"
    if SIGNATURE.search(reply):
        return "signature"
    hidden = TOKENS.findall(reference)
    runs = {tuple(hidden[n : n + LONG]) for n in range(len(hidden) - LONG + 1)}
    tokens = TOKENS.findall(reply)
    for n in range(len(tokens) - LONG + 1):
        run = tuple(tokens[n : n + LONG])
        if run in runs and sum(bool(OPERATORS.fullmatch(token)) for token in run) >= 2:
            return "ngram"
    return ""


def cut(reply: str, most: int = MOST_CHARACTERS) -> str:
    """Two sentences at most, and no more than `most` characters: cut where a sentence ends, never in a word.

    >>> cut("It is ten. It counts itself. And more.")
    'It is ten. It counts itself.'
    """
    text = " ".join(reply.split())
    ends = [m.end() for m in re.finditer(r"(?<!\b[A-Za-z])(?<!e\.g)(?<!i\.e)[.!?][\"')\]]*(?=\s|$)", text)]
    if len(ends) >= MOST_SENTENCES and ends[MOST_SENTENCES - 1] <= most:
        return text[: ends[MOST_SENTENCES - 1]]
    if len(text) <= most:
        return text
    fitting = [end for end in ends if end <= most]
    return text[: fitting[-1]] if fitting else text[:most].rpartition(" ")[0]
