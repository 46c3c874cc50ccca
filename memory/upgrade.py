"""Brings a memory of an earlier layout to this one, once, when it is opened: what searches read of each memory is worked out anew.

The first layout had no words of other languages; the second had an index for each field that is now a tag.
"""

from typing import Any

from qdrant_client import models
from tqdm import tqdm

from memory.points import COLLECTION, INDEXES, LANGUAGE, searched_fields
from memory.server import Client

GONE = ["path", "flags", "language", "pending"]
"""Fields of the earlier layouts. `path`, the namespace, was in each, and is the mark of what is not yet brought up to date."""
READ_AT_ONCE = 500


def upgrade(client: Client, indexed: set[str]) -> None:
    """Work out the fields anew, with a progress bar; killed on the way, it goes on with what is left."""
    old = sorted(indexed - INDEXES.keys())
    if not old:
        return
    offset: Any = None
    with tqdm(total=client.count(COLLECTION).count, desc="Bringing the memory up to date", unit="memory") as bar:
        while True:
            records, offset = client.scroll(COLLECTION, limit=READ_AT_ONCE, offset=offset)
            earlier = [record for record in records if "path" in record.payload]
            for record in earlier:
                only = models.Filter(must=[models.HasIdCondition(has_id=[record.id])])
                client.set_payload(COLLECTION, _fields(record.payload), points=only)
            if earlier:
                ids = models.Filter(must=[models.HasIdCondition(has_id=[record.id for record in earlier])])
                client.delete_payload(COLLECTION, keys=GONE, points=ids)
            bar.update(len(records))
            if offset is None:
                break
    client.flush()
    for field in old:
        client.delete_payload_index(COLLECTION, field)


def _fields(payload: dict[str, Any]) -> dict[str, Any]:
    namespace = tuple(payload["path"].split("."))
    if "normalised" not in payload and "language" not in payload:
        return searched_fields(namespace, payload["value"], payload.get("terms", ""), payload.get("pending", ""))
    fields = searched_fields(namespace, payload["value"], "", payload.get("pending", ""))  # its words stay as they are
    if language := payload.get("language"):
        fields["scopes"].append(LANGUAGE + language)
    return fields
