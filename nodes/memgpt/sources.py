"""Where each sentence of a summary comes from: the messages that it shares its rarest words with."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from memory.words import stems_of
from nodes.memgpt.state import Sourced

SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+")
MOST = 3  # messages of one sentence
LEAST = 0.1
"""Share of a sentence's rarity that a message must add, to be one of its sources."""


def sourced(summary: str, texts: dict[str, str], before: Sequence[Sourced]) -> list[Sourced]:
    """The summary's sentences, each with the keys of the messages it was made of.

    `texts`: what leaves now, by key. `before`: the sentences of the old summary, which hand their sources on. A sentence that
    shares nothing with either has no source: the model has made it up, or has it from elsewhere.
    """
    candidates = [*(([key], text) for key, text in texts.items()), *((old["keys"], old["text"]) for old in before)]
    words = [stems_of(text) for _, text in candidates]
    common = Counter(word for each in words for word in each)
    found: list[Sourced] = []
    for sentence in filter(None, map(str.strip, SENTENCE.split(summary))):
        stems = stems_of(sentence)
        rarity = {word: math.log(1 + len(words) / common[word]) for word in stems if common[word]}
        unknown = sum(not common[word] for word in stems)
        found.append({"text": sentence, "keys": _sources(rarity, unknown, candidates, words)})
    return found


def _sources(
    rarity: dict[str, float], unknown: int, candidates: list[tuple[list[str], str]], words: list[set[str]]
) -> list[str]:
    """Those that together share most of it, the largest part first; words that none has count as the rarest."""
    total = sum(rarity.values()) + unknown * max(rarity.values(), default=1.0)
    keys: list[str] = []
    left = dict(rarity)
    for _ in range(MOST):
        gains = [sum(left.get(word, 0.0) for word in each) for each in words]
        best = max(range(len(gains)), key=gains.__getitem__, default=-1)
        if best < 0 or gains[best] <= 0 or gains[best] < LEAST * total:
            break
        keys += [key for key in candidates[best][0] if key not in keys]
        left = {word: weight for word, weight in left.items() if word not in words[best]}
    return keys
