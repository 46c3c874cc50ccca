"""mem0's memories: what `get_all` gives, a platform export, or OpenMemory's `memories.json`."""

from collections.abc import Iterator
from typing import Any

from memory.exports.records import Note, Record, each, moment, text_in

TEXTS = ("memory", "content", "data", "text")
LISTS = ("results", "memories")


def is_mem0(data: Any) -> bool:
    """Whether this is such a file."""
    parts = [part for part in _parts(data) if isinstance(part, dict) and "role" not in part]
    return any(isinstance(part.get("memory", part.get("content")), str) for part in parts)


def read_mem0(data: Any) -> Iterator[Record]:
    """Its memories, oldest first: a newer one may take an older one's place."""
    notes = list(each(_parts(data), "memory", _note))
    return iter(sorted(notes, key=lambda note: note.time.timestamp() if isinstance(note, Note) and note.time else 0.0))


def _parts(data: Any) -> list[Any]:
    if isinstance(data, dict):
        data = next((data[name] for name in LISTS if isinstance(data.get(name), list)), [])
    return data if isinstance(data, list) else []


def _note(memory: Any) -> Iterator[Note]:
    text = next((text for name in TEXTS if (text := text_in(memory.get(name))).strip()), "")
    if not text:
        raise ValueError("it has no text")
    if memory.get("state") not in ("deleted", "archived"):  # OpenMemory keeps them in the file
        yield Note(text, moment(memory.get("updated_at")) or moment(memory.get("created_at")))
