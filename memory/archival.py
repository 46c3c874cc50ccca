"""Archival storage (MemGPT §2.2): passages that an agent or a document left there, found again by words and meaning."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from langchain_text_splitters import RecursiveCharacterTextSplitter
from langgraph.store.base import PutOp, SearchItem

from memory.documents import Section
from memory.recall import Trust
from memory.store import PASSAGE, Memory, Page, QdrantStore

CHUNK, OVERLAP = 900, 120  # characters: a chunk fits the embedder's 256 word pieces


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
        """How many passages there are."""
        return self.store.count(self.namespace)

    def insert(self, content: str, *, key: str = "", time: datetime | None = None, trust: Trust = "own") -> int:
        """Keep what the agent wants to keep; long text is cut into passages. Returns how many. Raises ValueError if empty."""
        if not content.strip():
            raise ValueError("The content is empty: there is nothing to keep.")
        section = Section(content, "")
        return self._write(
            [section], source="", author=self.agent, trust=trust, key=key or str(uuid.uuid4()), time=time
        )

    def ingest(self, source: str, sections: Iterable[Section]) -> Ingested:
        """Keep a document, in place of an earlier version of the same source. Raises ValueError if it has no text."""
        kept = [s for s in sections if s.text.strip()]
        if not kept:
            raise ValueError(
                f"{source} has no text to keep. (A scanned PDF has only pictures: run it through OCR first.)"
            )
        version = str(uuid.uuid4())
        # The document's record is there before its first passage and goes after its last: nothing is kept unseen.
        self.store.put((self.agent, "document"), source, {"version": version}, index=False)
        old = {i.key for i in self._passages(source)}
        count = self._write(kept, source=source, author=source, trust="outside", key=version, time=None)
        self.store.batch([PutOp(self.namespace, key, None) for key in old])
        self.store.flush()
        return Ingested(source, count, len(old))

    def search(self, query: str, page: int = 0, page_size: int = 10, source: str = "") -> Page:
        """Passages near `query`, best first, page by page. Raises ValueError for an empty query or a page that is not there."""
        if not query.strip():
            raise ValueError("The query is empty: say what the passage would be about.")
        where = {"source": source} if source else None
        return self.store.rank(self.namespace, query, where=where, page=page, page_size=page_size)

    def sources(self) -> dict[str, int]:
        """Documents kept here, with the number of their passages."""
        counts: dict[str, int] = {}
        offset = 0
        while items := self.store.search((self.agent, "document"), limit=200, offset=offset):
            counts |= {item.key: self.store.count(self.namespace, {"source": item.key}) for item in items}
            offset += len(items)
        return counts

    def text(self, source: str) -> str:
        """A document's whole text, put together from its passages; empty if there is no such document."""
        sections: list[str] = []
        for item in self._passages(source):
            offset, part = int(item.value["offset"]), str(item.value["text"])
            if offset == 0 or not sections:
                sections.append(part)
            else:
                sections[-1] = sections[-1][:offset].ljust(offset) + part
        return "\n\n".join(sections)

    def forget(self, source: str) -> int:
        """Delete a document; returns how many passages went."""
        gone = self.store.delete_where(self.namespace, {"source": source})
        self.store.delete((self.agent, "document"), source)
        self.store.flush()
        return gone

    def _passages(self, source: str) -> Iterable[SearchItem]:
        page = 0
        while True:
            found = self.store.find(self.namespace, where={"source": source}, page=page, page_size=500)
            yield from found.items
            page += 1
            if page >= found.pages:
                return

    def _write(
        self, sections: list[Section], *, source: str, author: str, trust: Trust, key: str, time: datetime | None
    ) -> int:
        splitter = RecursiveCharacterTextSplitter(chunk_size=CHUNK, chunk_overlap=OVERLAP, add_start_index=True)
        when = time or datetime.now(UTC)
        memories: list[Memory] = []
        for section in sections:
            for part in splitter.create_documents([section.text]):
                head = " · ".join(p for p in (source, section.position) if p)
                memories.append(
                    Memory(
                        f"{key}:{len(memories)}",
                        {
                            "text": part.page_content,
                            "source": source,
                            "position": section.position,
                            "offset": part.metadata["start_index"],
                            "author": author,
                            "trust": trust,
                            "time": when.isoformat(),
                        },
                        terms=f"{head} {part.page_content}".strip(),
                        passage=f"{head} {part.page_content}".strip()[:PASSAGE],
                        time=when,
                    )
                )
        for start in range(0, len(memories), 500):
            self.store.write(self.namespace, memories[start : start + 500])
        return len(memories)
