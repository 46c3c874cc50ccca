"""How ranked search joins its two halves: BM25 over stemmed words, and cosine over embeddings. Pure functions.

Reciprocal rank fusion with k=60 is worse here than BM25 alone: a memory ranked 40th by both beats one ranked 1st by one.
So scores are fused, not ranks. The weights were swept together on LoCoMo (`python -m evaluation locomo --sweep`), not
tuned on questions; each stands on a plateau.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Group = TypeVar("Group", bound=Hashable)

DENSE_WEIGHT = 0.5
"""Share of the cosine half: neither half is trusted more."""

NEIGHBOUR_WEIGHT = 0.2
"""What the turn before and the turn after lend: an answer often stands beside the words of the question."""

BM25_K, BM25_B = 1.2, 0.5
"""Saturation as usual; length counts half of usual, since turns of talk are short and alike."""

DEPTH = 500
"""How many candidates each half brings; below about 50, min-max scores of the dense half lose their meaning."""


def fuse(dense: Mapping[str, float], lexical: Mapping[str, float]) -> dict[str, float]:
    """Score every candidate of either half in [0, 1].

    Cosines are stretched over their range (their lowest says nothing), BM25 scores are divided by the best (their zero
    is true). What only one half found has nothing from the other.
    """
    low, high = min(dense.values(), default=0.0), max(dense.values(), default=0.0)
    best = max(lexical.values(), default=0.0)
    fused = {key: DENSE_WEIGHT * (score - low) / (high - low or 1.0) for key, score in dense.items()}
    for key, score in lexical.items():
        fused[key] = fused.get(key, 0.0) + (1 - DENSE_WEIGHT) * score / (best or 1.0)
    return fused


def lend_to_neighbours(
    scores: Mapping[str, float], places: Mapping[str, tuple[str, int] | None]
) -> dict[str, float]:
    """Add to each score NEIGHBOUR_WEIGHT times those of the turns before and after.

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
                result[neighbour] += NEIGHBOUR_WEIGHT * scores[key]
    return result


def rank_groups(ranked: Sequence[tuple[Group, float]], share: float = 0.5, most: int = 5) -> list[Group]:
    """Rank groups (sessions, documents) by their best members: s1 + s2·share + s3·share² …, at most `most` of them.

    `ranked` is (group, score) of each member, best first.
    """
    members: dict[Group, list[float]] = {}
    for group, score in ranked:
        members.setdefault(group, []).append(score)
    totals = {g: sum(s * share**i for i, s in enumerate(scores[:most])) for g, scores in members.items()}
    return sorted(totals, key=lambda group: -totals[group])
