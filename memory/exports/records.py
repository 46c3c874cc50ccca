"""What the exports of other systems hold, in one form: conversations, notes, and blocks of a working context."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from memory.recall import Trust
from text import clean_text

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    """A message."""

    key: str
    """Its id in the export."""
    role: Literal["user", "assistant"]
    text: str
    time: datetime | None


@dataclass(frozen=True)
class Talk:
    """A conversation, in the order in which it was held."""

    key: str
    """The system and its id there: read again, it is the same one."""
    title: str
    said: list[Said]


@dataclass(frozen=True)
class Note:
    """Something that was kept."""

    text: str
    time: datetime | None = None
    trust: Trust = "outside"
    """`own`: the person wrote it; else another system's model did."""


@dataclass(frozen=True)
class Block:
    """A part of a working context."""

    name: Literal["persona", "human"]
    text: str


@dataclass(frozen=True)
class Unread:
    """What could not be read, and why; the rest is."""

    what: str
    why: str


Record = Talk | Note | Block | Unread


def each(parts: Any, what: str, read: Callable[[Any], Iterable[Record]]) -> Iterator[Record]:
    """What `read` makes of each part; one that is not as it should be costs no other."""
    for number, part in enumerate(parts, 1):
        try:
            yield from list(read(part))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            title = part.get("title") or part.get("name") if isinstance(part, dict) else None
            yield Unread(f"{what} {number}{f' ({title})' if title else ''}", _why(error))


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return str(error)[:200] if isinstance(error, ValueError) else "it is not written as such a file has it"


def moment(value: Any) -> datetime | None:
    """A time as exports write it: seconds or milliseconds since 1970, or ISO 8601; None for anything else."""
    try:
        if isinstance(value, str) and not value.replace(".", "", 1).isdigit():
            time = datetime.fromisoformat(value)
            time = time if time.tzinfo else time.replace(tzinfo=UTC)
        else:
            seconds = float(value)
            time = datetime.fromtimestamp(seconds / 1_000 if seconds > 1e11 else seconds, UTC)
        return time.astimezone(UTC) if time > EARLIEST else None
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def path_to(leaf: str, parents: Mapping[str, str | None]) -> list[str]:
    """The ids from the first message to `leaf`: what was edited or answered anew lies beside that path."""
    path: dict[str, None] = {}
    at = leaf
    while at in parents and at not in path:
        path[at] = None
        at = parents[at] or ""
    return list(path)[::-1]


def text_in(value: Any) -> str:
    """The text of a message's content: a text, or the texts of its parts; a picture or a file is named."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return "\n".join(text for part in value if (text := text_in(part)).strip())
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            return clean_text(value["text"])
        kind = str(value.get("content_type") or value.get("type") or "")
        return "[image]" if "image" in kind else ""
    return ""
