"""Recall storage (MemGPT §2.2): every message of an agent, verbatim and for ever, found again by text, date or meaning."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from memory.embedder import EmbeddingFailed
from memory.minilm import WeightsMissing
from memory.pending import Progress
from memory.points import PASSAGE, Memory
from memory.result_page import ResultPage
from memory.store import QdrantStore

Role = Literal["user", "assistant", "monologue", "tool_call", "tool_result", "alert"]
EVICTION = "eviction"
"""The namespace of the records of flushes: what left, and what the summary was before and after."""
SAID: tuple[Role, ...] = ("user", "assistant")
"""What the person and the agent said to each other. Searches look there, so that no search finds itself or its results."""

EMBED_AT_FLUSH = 128
PREVIOUS = 400  # characters of what was said before that are embedded with a message
logger = logging.getLogger(__name__)

Trust = Literal["own", "outside"]
KEPT = "text role author trust thread sequence position".split()
"""The fields of a message that are on record beside its time."""


@dataclass(frozen=True)
class Message:
    """One message of the log."""

    key: str
    """Its id: writing it again, as after a crash, writes nothing new."""
    role: Role
    text: str
    author: str
    """Who wrote it: a person's or an agent's name, or the tool's."""
    trust: Trust
    """`outside`: not from the user or the agent (documents, results of tools), or written while such text was in view."""
    time: datetime
    thread: str
    sequence: int
    """Order of everything in the thread: microseconds, never less than the one before."""
    position: int | None
    """Place among what was said in the thread, from 0; None for what was not said aloud."""
    previous: str = ""
    """What was said just before, in at most PREVIOUS characters, for the embedder to see the turn in its context."""

    @classmethod
    def of_value(cls, key: str, value: Mapping[str, Any]) -> "Message":
        """A message as it is on record; what was said before it is not."""
        return cls(key, **{name: value[name] for name in KEPT}, time=datetime.fromisoformat(str(value["time"])))


class Recall:
    """Recall storage of one agent."""

    def __init__(self, store: QdrantStore, agent: str) -> None:
        self.store = store
        self.agent = agent
        self.namespace = (agent, "message")

    def write(self, messages: Sequence[Message]) -> None:
        """Add messages to the log; one that is there already stays as it is."""
        self.store.add(self.namespace, [_memory(m) for m in messages])

    def replace(self, message: Message) -> None:
        """Write a message anew, in place of what is there under its key; it was written first when it was, or when it was said."""
        kept = self.store.get(self.namespace, message.key)
        written = kept.created_at if kept else message.time
        self.store.write(self.namespace, [_memory(message)])
        self.store.date(self.namespace, message.key, written)

    def read(self, key: str) -> dict[str, Any] | None:
        """One message of the log; None if it is not there."""
        item = self.store.get(self.namespace, key)
        return None if item is None else dict(item.value)

    def count(self) -> int:
        """How many messages were said: what the searches look through."""
        return self.store.count(self.namespace, {"role": SAID})

    def search(self, query: str, page: int = 0, page_size: int = 10, *, case_sensitive: bool = True) -> ResultPage:
        """Messages that contain `query` literally, oldest first. Raises ValueError if it is empty, or the page is not there."""
        if not query.strip():
            raise ValueError("The query is empty: name a piece of text that the messages contain.")
        where = {"role": SAID}
        return self.store.find(
            self.namespace, query, case_sensitive=case_sensitive, where=where, page=page, page_size=page_size
        )

    def search_dates(self, start_date: str, end_date: str, page: int = 0, page_size: int = 10) -> ResultPage:
        """Messages from `start_date` to `end_date` (YYYY-MM-DD, UTC), both days included. Raises ValueError."""
        since, before = day_range(start_date, end_date)
        where = {"role": SAID}
        return self.store.find(self.namespace, since=since, before=before, where=where, page=page, page_size=page_size)

    def nearest(self, query: str, page: int = 0, page_size: int = 10, progress: Progress | None = None) -> ResultPage:
        """Messages near `query` in words and meaning, best first. Raises ValueError if it is empty, or the page is not there."""
        if not query.strip():
            raise ValueError("The query is empty: say what the message would be about.")
        where = {"role": SAID}
        return self.store.rank(self.namespace, query, where=where, page=page, page_size=page_size, progress=progress)

    def embed_some(self) -> None:
        """Embed up to EMBED_AT_FLUSH messages that have no vector yet, so that no later search must embed a whole past.

        An embedder that fails leaves them for the first search by meaning, which then says what is wrong.
        """
        try:
            self.store.embed_pending(self.namespace, limit=EMBED_AT_FLUSH)
        except (EmbeddingFailed, WeightsMissing) as error:
            logger.warning("Messages stay without embeddings for now: %s", error)


def day_range(start_date: str, end_date: str) -> tuple[datetime, datetime]:
    """From the start of the first day up to the end of the last (exclusive). Raises ValueError, naming what is wrong."""
    start, end = _day("start_date", start_date), _day("end_date", end_date)
    if end < start:
        raise ValueError(f"end_date {end_date} is before start_date {start_date}: exchange them.")
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC)
    return midnight, midnight + timedelta(days=(end - start).days + 1)


def _day(name: str, text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip()):
        raise ValueError(f"{name} {text[:40]!r} is not a date: write it as YYYY-MM-DD, such as 2026-01-31.")
    try:
        day = date.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"{name} {text.strip()} is no day of the calendar ({error}).") from None
    if day.year >= 9999:
        raise ValueError(f"{name} {text.strip()} is too far in the future.")
    return day


def _memory(message: Message) -> Memory:
    value = {**{name: getattr(message, name) for name in KEPT}, "time": message.time.isoformat()}
    if message.role not in SAID:
        return Memory(message.key, value, time=message.time, sequence=message.sequence)
    return Memory(
        message.key,
        value,
        terms=f"{_day_of(message.time)} {message.author}: {message.text}",
        passage=passage_of(message.author, message.text, message.time, message.previous),
        time=message.time,
        sequence=message.sequence,
    )


def passage_of(author: str, text: str, time: datetime, previous: str) -> str:
    """What the embedder reads of a message: its day, what was said before it, and the message."""
    return " ".join(part for part in (f"[{_day_of(time)}]", previous, f"{author}: {text}") if part)[:PASSAGE]


def _day_of(time: datetime) -> str:
    """The day as words, which is part of what is searched: "what did I do in May?" holds few others."""
    return f"{time:%A} {time.day} {time:%B %Y}"
