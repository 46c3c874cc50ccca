"""Reads the nested key-value task (MemGPT §3.2.2; Liu et al. 2023): pairs of UUIDs, and orderings that chain them."""

from itertools import pairwise
from pathlib import Path

from text import read_json_lines

Pairs = list[tuple[str, str]]


def read_pairs(path: Path) -> Pairs:
    """The key-value records of the first row of a file. Raises ValueError for a file of another shape."""
    try:
        _, row = next(read_json_lines(path))
        return [(str(key), str(value)) for key, value in row["ordered_kv_records"]]
    except (OSError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has no row with `ordered_kv_records` ({error}).") from None


def read_orderings(path: Path) -> list[list[int]]:
    """Lists of the indices that one chain goes through, one list a line."""
    try:
        return [[int(i) for i in row] for _, row in read_json_lines(path)]
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not one JSON list of indices a line ({error}).") from None


def chain(pairs: Pairs, ordering: list[int]) -> Pairs:
    """The records with each chained value replaced by the next key of the ordering, so that n records are n-1 nested."""
    nested = dict(enumerate(pairs))
    for here, following in pairwise(ordering):
        nested[here] = (pairs[here][0], pairs[following][0])
    return [nested[n] for n in range(len(pairs))]
