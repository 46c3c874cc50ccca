"""Notes as people write them: Markdown or plain text, each item and paragraph a note; and JSON lines, a note or a message each."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from markdown_it import MarkdownIt

from memory.exports.records import Note, Record, Said, Talk, each, moment, text_in

TEXT, TIME = ("text", "content", "memory"), ("time", "created_at", "timestamp")


def notes_in(markdown: str) -> Iterator[str]:
    """The items, paragraphs and blocks of code of a text; headings only say what is under them."""
    tokens = MarkdownIt().parse(text_in(markdown))
    for before, token in zip([None, *tokens], tokens, strict=False):
        is_heading = before is not None and before.type == "heading_open"
        if token.type in ("inline", "fence", "code_block") and not is_heading and token.content.strip():
            yield token.content.strip()


def read_markdown(text: str) -> Iterator[Record]:
    """A file of notes."""
    return (Note(note, trust="own") for note in notes_in(text))


def are_rows(data: Any) -> bool:
    """Whether these are such rows."""
    return isinstance(data, list) and any(
        isinstance(row, dict) and any(isinstance(row.get(n), str) for n in TEXT) for row in data
    )


def read_rows(rows: list[Any]) -> Iterator[Record]:
    """JSON lines: {"text", "time"} for a note; with "role" (user or assistant) and "conversation" for a message."""
    talks: dict[str, Talk] = {}
    told: Counter[str] = Counter()
    yield from each(rows, "line", lambda row: _row(row, talks, told))
    yield from talks.values()


def _row(row: Any, talks: dict[str, Talk], told: Counter[str]) -> Iterator[Record]:
    """A note; a message goes into its conversation. `told`: how often what has no id was said, which tells it from its like."""
    if not isinstance(row, dict):
        raise ValueError("it is no JSON object")
    text = next((text for name in TEXT if (text := text_in(row.get(name))).strip()), "")
    time = next((time for name in TIME if (time := moment(row.get(name)))), None)
    if not text:
        raise ValueError(f"it has no text: give it as one of {', '.join(TEXT)}")
    role = row.get("role")
    if role is None:
        yield Note(text, time, trust="own")
    elif role in ("user", "assistant"):
        name = str(row.get("conversation") or "imported")
        talk = talks.setdefault(name, Talk(f"lines:{name}", name, []))
        content = json.dumps([name, role, text])
        told[content] += 1
        talk.said.append(Said(str(row.get("id") or f"{told[content]}:{content}"), role, text, time))
    else:
        raise ValueError(f"the role {role!r} is neither user nor assistant")
