"""The order of memories: by sequence, read in parts. Qdrant refuses an offset with an order, and orders ties anew at each call."""

from typing import Any, cast

from qdrant_client import models

from memory.points import COLLECTION
from memory.server import Client

READ_AT_ONCE = 1_000  # Edge holds the interpreter lock during a call


def ordered_ids(client: Client, selector: models.Filter, wanted: int, newest_first: bool) -> list[str]:
    """The first ids by sequence, and by id where that is the same: Qdrant alone orders ties anew at every call."""
    direction = models.Direction.DESC if newest_first else models.Direction.ASC
    step = -1 if newest_first else 1
    ids: list[str] = []
    start: int | None = None
    while len(ids) < wanted:
        limit = min(READ_AT_ONCE, wanted - len(ids)) + 1
        order = models.OrderBy(key="sequence", direction=direction, start_from=start)
        records, _ = client.scroll(
            COLLECTION, scroll_filter=selector, limit=limit, order_by=order, with_payload=["sequence"]
        )
        rows = [(int((r.payload or {})["sequence"]), str(r.id)) for r in records]
        is_last = len(rows) < limit
        if not is_last:  # what shares the last sequence may be cut: read it whole
            start = rows[-1][0]
            rows = [row for row in rows if row[0] != start]
            rows += [(start, i) for i in _with_sequence(client, selector, start)]
            start += step
        ids += [i for _, i in sorted(rows, key=lambda row: (step * row[0], row[1]))]
        if is_last:
            break
    return ids


def _with_sequence(client: Client, selector: models.Filter, sequence: int) -> list[str]:
    same = models.FieldCondition(key="sequence", range=models.Range(gte=sequence, lte=sequence))
    tied = models.Filter(must=[*cast(list[models.Condition], selector.must or []), same])
    ids: list[str] = []
    offset: Any = None
    while True:
        records, offset = client.scroll(
            COLLECTION, scroll_filter=tied, limit=READ_AT_ONCE, offset=offset, with_payload=False
        )
        ids += [str(r.id) for r in records]
        if offset is None:
            return ids
