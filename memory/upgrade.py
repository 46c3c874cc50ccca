"""Brings a memory of an earlier layout to this one, once, when it is opened: what searches read of each memory is worked out anew.

The first layout had no words of other languages, the second an index for each field that is now a tag, and the third one for words
of other languages and one for namespaces.
"""

from typing import Any

from qdrant_client import models
from tqdm import tqdm

from memory.points import COLLECTION, INDEXES, LANGUAGE, NOT_ENGLISH, searched_fields
from memory.server import Client
from memory.words import spelled

GONE = ["path", "scopes", "flags", "language", "pending", "terms", "words"]
"""Fields of the earlier layouts. `scopes`, the namespaces, was in each, and is the mark of what is not yet brought up to date."""
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
            earlier = [record for record in records if "scopes" in record.payload]
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
    scopes = [scope for scope in payload["scopes"] if not scope.startswith("..")]
    namespace = tuple(scopes[-1].split("."))
    terms, passage = payload.get("terms", ""), payload.get("passage", "")
    if "path" in payload and "normalised" not in payload and "language" not in payload:  # the first
        return searched_fields(namespace, payload["value"], terms, passage)
    fields = searched_fields(namespace, payload["value"], "", passage)
    if words := " ".join([terms, *map(spelled, payload.get("words", "").split())]).strip():
        fields["lexical"] = words
    languages = [scope.removeprefix("..") for scope in payload["scopes"] if scope.startswith("..")]
    for language in [*languages, *([payload["language"]] if "language" in payload else [])]:
        fields["tags"] += [NOT_ENGLISH, LANGUAGE + language]
    return fields
