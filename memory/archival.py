"""Archival storage (MemGPT §2.2): passages that an agent or a document left there, found again by words and meaning."""

import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from langchain_text_splitters import RecursiveCharacterTextSplitter
from langgraph.store.base import PutOp, SearchItem

from memory.conditions import Namespace
from memory.documents import Section
from memory.embedder import MINILM, EmbeddingFailed
from memory.minilm import WeightsMissing, frequent_words
from memory.pending import Progress
from memory.points import PASSAGE, WORDING, Memory
from memory.recall import Trust
from memory.result_page import ResultPage
from memory.statements import Judge, Statement
from memory.store import QdrantStore

CHUNK, OVERLAP = 900, 120  # characters: a chunk fits the embedder's 256 word pieces
WRITTEN_AT_ONCE = 500
COMPARED = 8  # notes, with a new one
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingested:
    """What became of a document."""

    source: str
    passages: int
    replaced: int
    """Passages of an earlier version of the same source, which went."""


class Archival:
    """Archival storage of one agent."""

    def __init__(self, store: QdrantStore, agent: str) -> None:
        self.store = store
        self.agent = agent
        self.namespace = (agent, "passage")

    def count(self) -> int:
        """How many passages there are; what says one of them again is not counted."""
        return self.store.count(self.namespace) - self.store.count(self._wordings)

    def insert(
        self, content: str, *, key: str = "", time: datetime | None = None, trust: Trust = "own", said: str = "",
        thread: str = "",
    ) -> int:  # fmt: skip
        """Keep what the agent wants to keep; long text is cut into passages. Returns how many.

        That is none where a note says the same already: it has one wording, and one source, more then. What another note says
        that does not hold any more is told so by searches from now on (memory.statements). `said`: the key of the message in
        recall storage that it was kept from; `thread`: the conversation. What is there already under the same key stays.
        Raises ValueError if the content is empty.
        """
        if not content.strip():
            raise ValueError("The content is empty: there is nothing to keep.")
        origin = {name: text for name, text in (("said", said), ("thread", thread)) if text}
        key = key or str(uuid.uuid4())
        memories = _passages([Section(content, "")], "", self.agent, trust, key, time, origin)
        if len(memories) == 1 and self.store.get(self.namespace, memories[0].key) is None:
            said_again, replaced = self._compared(content, trust)
            links = {"of": said_again} if said_again else {"supersedes": replaced} if replaced else {}
            value = {**memories[0].value, **links}
            self.store.add(self._wordings if said_again else self.namespace, [replace(memories[0], value=value)])
            return 0 if said_again else 1
        self.store.add(self.namespace, memories)
        return len(memories)

    def has(self, key: str) -> bool:
        """Whether something was kept under that key, as a note or as another wording of one."""
        return any(self.store.get(namespace, f"{key}:0") for namespace in (self.namespace, self._wordings))

    def _compared(self, content: str, trust: Trust) -> tuple[str, list[str]]:
        """The key of the note that says the same, empty if none does; and of those whose place this one takes.

        Text from outside takes the place of nothing that was told here, and what was told here is no mere wording of it.
        """
        try:
            found = self.store.rank(self.namespace, content, where={"source": ""}, page_size=COMPARED).items
            new, *old = self.store.embedder.embed([content, *(str(item.value["text"]) for item in found)])
            is_ours = self.store.embedder.name == MINILM  # the rules were made with its vectors
            judge = Judge(self.store.embedder.embed, frequent_words() if is_ours else frozenset())
        except (EmbeddingFailed, WeightsMissing) as error:
            logger.warning("The note is kept without a look for one that says the same: %s", error)
            return "", []
        statement = Statement(content, new)
        # What does not hold any more, and is said again, holds again: that is a note of its own.
        notes = [
            (str(item.value.get("of") or item.key), item.value["trust"], Statement(str(item.value["text"]), vector))
            for item, vector in zip(found, old, strict=True)
            if "until" not in item.value
        ]
        says_same = judge.same if is_ours else Judge.equal
        for key, of_note, note in notes:
            if trust in (of_note, "outside") and says_same(statement, note):
                return key, []
        replaced = [
            key for key, of_note, note in notes if trust in (of_note, "own") and judge.replaces(statement, note)
        ]
        return "", replaced if is_ours else []

    def wordings(self, key: str) -> list[dict[str, Any]]:
        """What else says the same as a note: each with its text, its time and what it was kept from."""
        return [dict(item.value) for item in self.store.all(self._wordings, {"of": key})]

    @property
    def _wordings(self) -> Namespace:
        return (*self.namespace, WORDING)

    def ingest(self, source: str, sections: Iterable[Section]) -> Ingested:
        """Keep a document, in place of an earlier version of the same source. Raises ValueError if it has no text."""
        kept = _with_text(sections)
        if not kept:
            raise ValueError(
                f"{source} has no text to keep. (A scanned PDF has only pictures: run it through OCR first.)"
            )
        version = str(uuid.uuid4())
        # The document's record is there before its first passage and goes after its last: nothing is kept unseen. It names the
        # version that is whole.
        documents = (self.agent, "document")
        if self.store.get(documents, source) is None:
            self.store.put(documents, source, {"version": version}, index=False)
        old = {i.key for i in self._passages_of(source)}
        memories = _passages(kept, source, source, "outside", version, None, {})
        for start in range(0, len(memories), WRITTEN_AT_ONCE):
            self.store.write(self.namespace, memories[start : start + WRITTEN_AT_ONCE])
        self.store.put(documents, source, {"version": version}, index=False)
        self.store.batch([PutOp(self.namespace, key, None) for key in old])
        self.store.flush()
        return Ingested(source, len(memories), len(old))

    def search(
        self, query: str, page: int = 0, page_size: int = 10, *, source: str = "", progress: Progress | None = None,
    ) -> ResultPage:  # fmt: skip
        """Passages near `query`, best first, page by page. Raises ValueError for an empty query or a page that is not there."""
        if not query.strip():
            raise ValueError("The query is empty: say what the passage would be about.")
        where = {"source": source} if source else None
        return self.store.rank(self.namespace, query, where=where, page=page, page_size=page_size, progress=progress)

    def newest(self, page: int = 0, page_size: int = 10) -> ResultPage:
        """Passages, the newest first, page by page. Raises ValueError for a page that is not there."""
        return self.store.find(self.namespace, where={"of": None}, page=page, page_size=page_size, newest_first=True)

    def sources(self) -> dict[str, int]:
        """Documents kept here, with the number of their passages."""
        documents = [item.key for item in self.store.all((self.agent, "document"))]
        return {source: self.store.count(self.namespace, {"source": source}) for source in documents}

    def text(self, source: str) -> str:
        """A document's whole text, put together from its passages; empty if there is no such document."""
        document = self.store.get((self.agent, "document"), source)
        sections: dict[int, str] = {}
        for item in self._passages_of(source):
            if document is None or not item.key.startswith(str(document.value["version"])):
                continue  # of a version that is being written, or was not written to its end
            if "section" not in item.value:
                raise ValueError(
                    f"{source} was kept by an earlier version of Palimpsest: upload it again to read it whole."
                )
            number, offset = int(item.value["section"]), int(item.value["offset"])
            sections[number] = sections.get(number, "")[:offset] + str(item.value["text"])
        return "".join(sections[number] for number in sorted(sections))

    def forget(self, source: str) -> int:
        """Delete a document; returns how many passages went."""
        gone = self.store.delete_where(self.namespace, {"source": source})
        self.store.delete((self.agent, "document"), source)
        self.store.flush()
        return gone

    def _passages_of(self, source: str) -> Iterator[SearchItem]:
        return self.store.all(self.namespace, {"source": source})


def _with_text(sections: Iterable[Section]) -> list[Section]:
    """The sections, of which those without text are put to the one before or after: together they are the same text."""
    kept: list[Section] = []
    for section in sections:
        if kept and not (section.text.strip() and kept[-1].text.strip()):
            last = kept.pop()
            named = section if section.text.strip() else last
            section = Section(last.text + section.text, named.position)
        kept.append(section)
    return [section for section in kept if section.text.strip()]


def _passages(
    sections: list[Section],
    source: str,
    author: str,
    trust: Trust,
    key: str,
    time_kept: datetime | None,
    origin: Mapping[str, str],
) -> list[Memory]:
    """The sections cut into passages, numbered in their order."""
    when = time_kept or datetime.now(UTC)
    first = time.time_ns() // 1000
    memories: list[Memory] = []
    for number, section in enumerate(sections):
        for offset, text in cut(section.text):
            head = " · ".join(p for p in (source, section.position) if p)
            searched = f"{head} {text}".strip() if text.strip() else ""
            value = {
                "text": text, "source": source, "position": section.position, "section": number, "offset": offset,
                "author": author, "trust": trust, "time": when.isoformat(), **origin,
            }  # fmt: skip
            sequence = first + len(memories)
            memories.append(
                Memory(f"{key}:{len(memories)}", value, searched, searched[:PASSAGE], time=when, sequence=sequence)
            )
    return memories


def cut(text: str) -> Iterator[tuple[int, str]]:
    """(offset, passage) of a text cut at its paragraphs, lines and words; each begins with the end of the one before.

    Nothing is left out or stripped: each passage reaches up to where the next one's new part begins.
    """
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=CHUNK - OVERLAP, chunk_overlap=0, keep_separator="end", strip_whitespace=False
    )
    begin = 0
    for part in splitter.split_text(text):
        end = begin + len(part)
        start = max(0, begin - OVERLAP)
        if start:  # from the beginning of a word
            start = next((at + 1 for at in range(start, begin) if text[at].isspace()), begin)
        yield start, text[start:end]
        begin = end
