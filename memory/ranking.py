"""How ranked search joins its two halves: BM25 over stemmed words, and cosine over embeddings. Pure functions.

Reciprocal rank fusion with k=60 is worse here than BM25 alone: a memory ranked 40th by both beats one ranked 1st by one.
So scores are fused, not ranks. The weights are swept together by `python -m evaluation locomo --sweep`; each stands on a
plateau, and none was tuned on single questions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Weights:
    """What is weighed how."""

    dense: float = 0.4
    """Share of the cosine half: on conversations, words are the stronger half."""
    neighbour: float = 0.3
    """What the turn before and the turn after lend: an answer often stands beside the words of the question."""
    k: float = 1.2
    """Saturation of BM25, as usual."""
    b: float = 0.3
    """Weight of length in BM25; less than the usual 0.75, since turns of talk are short and alike."""
    depth: int = 200
    """How many candidates each half brings; what neither has among its nearest is not found."""

    @property
    def for_unread(self) -> "Weights":
        """Where the embedder does not know the query's language: its half then only orders what words leave equal."""
        return replace(self, dense=0.02)


OUTDATED = 0.5
"""What is left, at most, of the score of a memory in whose place a newer one stands, as a share of both."""


def collapsed(scores: Mapping[str, float], said_again: Mapping[str, str]) -> dict[str, float]:
    """Each memory once, by its best wording. `said_again`: the memory that each further wording belongs to."""
    result = {key: score for key, score in scores.items() if said_again.get(key, "") not in scores}
    for key in scores.keys() - result.keys():
        memory = said_again[key]
        result[memory] = max(result[memory], scores[key])
    return result


def outdated(scores: Mapping[str, float], newer: Mapping[str, str]) -> dict[str, float]:
    """Put what does not hold any more behind what holds. `newer`: the memory that took the place of each."""
    return {key: OUTDATED * min(score, scores[newer[key]]) if key in newer else score for key, score in scores.items()}


def fuse(dense: Mapping[str, float], lexical: Mapping[str, float], weights: Weights) -> dict[str, float]:
    """Score every candidate of either half in [0, 1].

    Cosines are stretched over their range (their lowest says nothing), BM25 scores are divided by the best (their zero
    is true). What only one half found has nothing from the other.
    """
    low, high = min(dense.values(), default=0.0), max(dense.values(), default=0.0)
    best = max(lexical.values(), default=0.0)
    fused = {key: weights.dense * (score - low) / (high - low or 1.0) for key, score in dense.items()}
    for key, score in lexical.items():
        fused[key] = fused.get(key, 0.0) + (1 - weights.dense) * score / (best or 1.0)
    return fused


def spread_to_neighbours(
    scores: Mapping[str, float], places: Mapping[str, tuple[str, int] | None], weights: Weights
) -> dict[str, float]:
    """Add to each score `weights.neighbour` times those of the turns before and after.

    `places` gives (thread, position) of each key, or None for what has no neighbours.
    """
    at = {place: key for key, place in places.items() if place is not None}
    result = dict(scores)
    for key, place in places.items():
        if place is None:
            continue
        for step in (-1, 1):
            neighbour = at.get((place[0], place[1] + step))
            if neighbour is not None:
                result[neighbour] += weights.neighbour * scores[key]
    return result
