"""Brings a memory of the first layout to this one, once, when it is opened: what searches read of each text is worked out anew.

That layout searched exact text in `value.text`; its index is the mark of it, and goes when all is done.
"""

from typing import Any

from qdrant_client import models
from tqdm import tqdm

from memory.points import COLLECTION, searchable
from memory.server import Client

FIRST_LAYOUT = "value.text"
DONE = {"normalised", "language"}
READ_AT_ONCE = 500


def upgrade(client: Client, indexed: set[str]) -> None:
    """Work out the fields that are missing, with a progress bar; killed on the way, it goes on with what is left."""
    if FIRST_LAYOUT not in indexed:
        return
    offset: Any = None
    with tqdm(total=client.count(COLLECTION).count, desc="Bringing the memory up to date", unit="memory") as bar:
        while True:
            records, offset = client.scroll(COLLECTION, limit=READ_AT_ONCE, offset=offset)
            for record in records:
                if DONE & record.payload.keys():
                    continue
                fields = searchable(record.payload["value"], record.payload.get("terms", ""))
                if fields:
                    only = models.Filter(must=[models.HasIdCondition(has_id=[record.id])])
                    client.set_payload(COLLECTION, fields, points=only)
            bar.update(len(records))
            if offset is None:
                break
    client.flush()
    client.delete_payload_index(COLLECTION, FIRST_LAYOUT)
