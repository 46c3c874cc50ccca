"""Simulated people: one that knows single facts and needs no model, and what every simulated person's reply is checked for.

reply = answer_from_facts(task, "Which currency?", dialogue=[], behaviour=PersonBehaviour(), seed=0)
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.colbench import Fact, Task
from tasks.kinds import ENVIRONMENTS

MOST_TOLD = 2
"""Facts of one reply: the person answers in two sentences."""
MOST_CHARACTERS = 400
UNKNOWN = "I have no answer to that, as you put it."
NOTHING_ASKED = "That sounds fine so far."
TIRED = "I have answered enough questions. Please write it now."
VAGUE = "It depends. Could you ask me more exactly?"
FORGOTTEN = "I do not remember that, sorry."
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
ASKS = re.compile(
    r"\b(?:tell me|let me know|please (?:say|describe|explain|specify|clarify)|i (?:need|want|would like) to know)\b",
    re.I,
)
WORDS = re.compile(r"[a-z]+|0")
MOST_WORDS = 40
"""Words of a question that are listened to."""
NEAR = 0.5
"""Share of the best fact's weight from which a second one is meant too."""
LEAST_SHOWN = 3  # words of a page that is looked at

Leak = Literal["", "fence", "signature", "tag", "ngram"]


@dataclass(frozen=True)
class PersonBehaviour:
    """How a simulated person without a model behaves. Raises ValueError, naming the field."""

    patience: int = 0
    """Questions it answers; 0: without end."""
    vagueness: float = 0.0
    """How often it answers a question only when it is asked again."""
    forgetfulness: float = 0.0
    """Share of the facts that it does not remember."""

    def __post_init__(self) -> None:
        if self.patience < 0:
            raise ValueError(f"patience={self.patience!r} cannot work: use 0 for no end, or a number of questions.")
        for name in ("vagueness", "forgetfulness"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} cannot work: use a share from 0 to 1.")


def answer_from_facts(task: Task, said: str, dialogue: Sequence[str], behaviour: PersonBehaviour, seed: int) -> str:
    """What the person replies to `said`; `dialogue` has its own earlier replies. The same for the same arguments.

    A question is answered with the fact that it is about, or two; a web page that is shown, with what was not told yet.
    """
    if behaviour.patience and sum(reply not in (NOTHING_ASKED, VAGUE) for reply in dialogue) >= behaviour.patience:
        return TIRED
    page = ENVIRONMENTS[task.kind].artefact(said)
    sentences = re.split(
        r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.?!？\n])[\"'*_`)\]]*\s+", said.replace(page, " ") if page else said
    )
    question = " ".join(s for s in sentences if s.strip().rstrip("\"'*_`)]").endswith(("?", "？")) or ASKS.search(s))
    uncovered = set(told_facts(task, dialogue))
    asked = _asked(task.facts, question, uncovered)
    if not asked and len(re.sub(r"<[^>]*>", " ", page).split()) >= LEAST_SHOWN:
        remembered = [f for f in task.facts if not _forgot(task, f, behaviour, seed)]
        asked = [fact for fact in remembered if fact.key not in uncovered][:MOST_TOLD]
    elif not question:
        return NOTHING_ASKED
    rng = random.Random(f"{task.task_id} {seed} {len(dialogue)}")  # noqa: S311
    if asked and rng.random() < behaviour.vagueness and (not dialogue or dialogue[-1] != VAGUE):
        return VAGUE
    replies = [FORGOTTEN if _forgot(task, fact, behaviour, seed) else fact.statement for fact in asked]
    return " ".join(dict.fromkeys(replies)) if replies else UNKNOWN


def _asked(facts: Sequence[Fact], question: str, uncovered: set[str]) -> list[Fact]:
    """The facts that a question is about, best first: by the words that they share, of which one that few facts have says more.

    A second one is meant only if it is nearly as near; of equal ones, one that was not told yet.
    """
    words = {stem(word) for word in WORDS.findall(question.lower())[:MOST_WORDS]}
    of = {fact.key: {stem(w) for keyword in fact.keywords for w in WORDS.findall(keyword.lower())} for fact in facts}
    rarity = Counter(word for own in of.values() for word in own)
    weights = {key: sum(1 / rarity[word] for word in words & own) for key, own in of.items()}
    ranked = sorted((f for f in facts if weights[f.key]), key=lambda f: (-weights[f.key], f.key in uncovered))
    if not ranked:
        return []
    near = [f for f in ranked[1:] if weights[f.key] >= NEAR * weights[ranked[0].key]]
    return [ranked[0], *sorted(near, key=lambda f: f.key in uncovered)][:MOST_TOLD]


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


def _forgot(task: Task, fact: Fact, behaviour: PersonBehaviour, seed: int) -> bool:
    return random.Random(f"{task.task_id} {fact.key} {seed}").random() < behaviour.forgetfulness  # noqa: S311


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
    if len(ends) >= MOST_TOLD and ends[MOST_TOLD - 1] <= most:
        return text[: ends[MOST_TOLD - 1]]
    if len(text) <= most:
        return text
    fitting = [end for end in ends if end <= most]
    return text[: fitting[-1]] if fitting else text[:most].rpartition(" ")[0]
