"""What is to be forgotten, found in every tier of an agent's memory, and erased there so that no byte of it is left.

The state of conversations is nodes.forget's part, and so is the order in which all is done.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from qdrant_client import models

from memory.blocks import OUTSIDE, VERSION, conversation_of
from memory.branches import RECORDS
from memory.ordering import READ_AT_ONCE
from memory.points import COLLECTION, INDEXES, PASSAGE, WORDING, moved, point_id, searched_fields
from memory.recall import EVICTION, SAID, passage_of
from memory.store import QdrantStore
from memory.stored import Stored, stored
from text import folded

LONG = 20
"""Characters from which a text is told from others: where a forgotten message stands word for word in a result or a note, that goes
too."""
EDITED = ("block", VERSION, "thread", "tool_policy")
"""Of these only what is forgotten goes: lines, a title, and rules; but for the conversation that is forgotten."""
TIERS = {
    "message": "recall storage", "passage": "archival storage", WORDING: "other wordings", "document": "documents",
    "lesson": "lessons",
    "block": "working context", VERSION: "earlier working context", EVICTION: "records of flushes",
    "thread": "titles of conversations", "tool_policy": "tool policy", "tool_decision": "log of decisions on tools",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What is to be forgotten: one of these. Raises ValueError for none, or for several."""

    text: str = ""
    """All that contains these words, in any letter case: a person's name, a topic."""
    keys: tuple[str, ...] = ()
    """Messages of recall storage and passages, by their keys, and what was kept from them."""
    conversation: str = ""
    """All that was said in a conversation, and its window."""
    since: datetime | None = None
    """With `before`: all that was said and kept in this time, its end excluded."""
    before: datetime | None = None
    document: str = ""
    """A document, and what was read out of it."""

    def __post_init__(self) -> None:
        kinds = [
            bool(folded(self.text).strip()),
            bool(self.keys),
            bool(self.conversation),
            bool(self.since),
            bool(self.document),
        ]
        if sum(kinds) != 1 or bool(self.since) != bool(self.before):
            raise ValueError(
                "Say one thing to forget: a text, keys, a conversation, a time from `since` to `before`, or a document."
            )

    def means(self, namespace: str, key: str, value: Mapping[str, Any]) -> bool:
        """Whether a memory is meant itself."""
        if self.text:
            return contains([key, value], (folded(self.text),))
        if "switch" in value:  # a block as it was turned by a change of branches: nobody wrote it then
            return False
        if self.keys:
            return bool({key, str(value.get("said", "")), key.removesuffix(":result") + ":call"} & set(self.keys))
        if self.conversation:
            of = conversation_of(str(value.get("thread", "")))
            return of == self.conversation or (namespace == "thread" and key == self.conversation)
        if self.document:
            is_result = value.get("role") == "tool_result" and self.document in str(value["text"])
            return (
                value.get("source") == self.document or (namespace == "document" and key == self.document) or is_result
            )
        said = value.get("time")
        return bool(said) and bool(self.since) and self.since <= datetime.fromisoformat(str(said)) < self.before  # type: ignore[operator]


@dataclass(frozen=True)
class Marks:
    """By what the forgotten is known, once it is found: what a crash must not lose."""

    agent: str
    words: tuple[str, ...]
    """Folded: what contains one of them goes, whatever it is."""
    texts: tuple[str, ...]
    """Folded texts of what goes."""
    threads: tuple[str, ...]
    """The conversations in which some of it was said."""
    ids: tuple[str, ...]
    """Keys of what goes."""
    conversation: str
    lines: tuple[str, ...] = ()
    """Folded lines of blocks that were written while it was said."""

    @cached_property
    def keys(self) -> frozenset[str]:
        """`ids`, to look up."""
        return frozenset(self.ids)

    @cached_property
    def quotes(self) -> tuple[str, ...]:
        """What quotes one of these texts goes too, but for what a person or the agent said themselves."""
        return tuple(text for text in self.texts if len(text) >= LONG)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Marks":
        """What `to_row` has made."""
        fields: Any = {name: tuple(part) if isinstance(part, list) else part for name, part in row.items()}
        return cls(**fields)

    def to_row(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    def in_text(self, value: Any) -> bool:
        """Whether any string of a structure holds the forgotten words or a quote."""
        return contains(value, (*self.words, *self.quotes))

    def in_line(self, line: str) -> bool:
        """Whether a line of a block goes."""
        return folded(line) in self.lines or self.in_text(line)

    def mean(self, namespace: str, key: str, value: Mapping[str, Any]) -> bool:
        """Whether a memory goes."""
        if (
            key in self.keys
            or contains([key, value], self.words)
            or (namespace == EVICTION and conversation_of(value["thread"]) in map(conversation_of, self.threads))
            or (namespace == "thread" and key == self.conversation)
        ):
            return True
        if namespace in ("block", VERSION) and any(self.in_line(line) for line in _lines_of(value)):
            return True
        if namespace == "thread":  # its title is how the first message begins
            title = folded(str(value.get("title", "")))
            return bool(title) and any(" ".join(text.split()).startswith(title) for text in self.texts)
        # What was said, and a document, are originals: they quote nothing.
        is_original = value.get("role") in SAID or bool(value.get("source"))
        return not is_original and contains(value, self.quotes)


def contains(value: Any, wanted: tuple[str, ...]) -> bool:
    """Whether any string in a structure of lists and mappings contains one of the folded texts."""
    if isinstance(value, str):
        text = folded(value)
        return any(part in text for part in wanted)
    if isinstance(value, Mapping):
        return any(contains(part, wanted) for item in value.items() for part in item)
    return isinstance(value, list | tuple) and any(contains(part, wanted) for part in value)


def preview(store: QdrantStore, agent: str, target: Target) -> list[Stored]:
    """What would go, of all tiers, oldest first; of a block, lines would."""
    marks = mark(store, agent, target)
    found = [point for point in stored(store, agent) if marks.mean(point.kind, point.key, point.value)]
    return sorted(found, key=lambda point: str(point.payload["time"]))


def mark(store: QdrantStore, agent: str, target: Target) -> Marks:
    """Find what is meant."""
    meant = [point for point in stored(store, agent) if target.means(point.kind, point.key, point.value)]
    whole = [point for point in meant if point.kind not in EDITED]
    words = (folded(target.text),) if target.text else ()
    texts = () if words else tuple(sorted({folded(str(point.value.get("text", ""))) for point in whole} - {""}))
    threads = {str(point.value["thread"]) for point in whole if point.kind == "message"}
    gone = {point.key for point in whole}
    edits = [] if words else [point for point in meant if point.kind == VERSION]
    lines = {folded(line) for edit in edits for line in _written(edit.value)}
    return Marks(
        agent, words, texts, tuple(sorted(threads)), tuple(sorted(gone)), target.conversation, tuple(sorted(lines))
    )


def erase(store: QdrantStore, marks: Marks) -> Counter[str]:
    """Delete what is marked from the memory; returns how many of each tier. Repeating it changes nothing."""
    removed: Counter[str] = Counter()
    gone: list[str] = []
    after: set[tuple[str, int]] = set()
    for point in stored(store, marks.agent):
        if not marks.mean(point.kind, point.key, point.value):
            continue
        removed[TIERS.get(point.kind, point.kind)] += 1
        if point.kind not in EDITED or _is_of(point, marks) or not _edit(store, point, marks):
            gone.append(point.id)
        if point.kind == "message" and isinstance(position := point.value.get("position"), int):
            after.add((conversation_of(str(point.value["thread"])), position + 1))
    for point in list(stored(store, marks.agent)):
        if point.id not in gone:
            _detach(store, point, marks, after)
    for start in range(0, len(gone), READ_AT_ONCE):
        store.client.delete(COLLECTION, points_selector=gone[start : start + READ_AT_ONCE])
    if marks.conversation:
        store.delete(RECORDS, marks.conversation)
    store.forget_cached()
    return removed


def _is_of(point: Stored, marks: Marks) -> bool:
    """Whether it belongs to the conversation that is forgotten."""
    thread = point.key if point.kind == "thread" else conversation_of(str(point.value.get("thread", "")))
    return bool(thread) and thread == marks.conversation


def _edit(store: QdrantStore, point: Stored, marks: Marks) -> bool:
    """Take what is forgotten out of a block, an edit of one, or a title; False where nothing is left of it."""
    if point.kind == "thread":
        _rewrite(store, point, title="…")
        return True
    if point.kind == "tool_policy":
        _rewrite(store, point, policy=_policy_without(str(point.value["policy"]), marks))
        return True
    texts = {name: str(text) for name in ("text", "before") if (text := point.value.get(name)) is not None}
    kept = {name: lines_without(text, marks) for name, text in texts.items()}
    if point.kind == VERSION and kept["text"] == kept.get("before"):
        return False
    marked = [line for line in point.value.get(OUTSIDE, []) if not marks.in_line(line)]
    _rewrite(store, point, **kept, **({OUTSIDE: marked} if OUTSIDE in point.value else {}))
    return True


def _detach(store: QdrantStore, point: Stored, marks: Marks, after: set[tuple[str, int]]) -> None:
    """Take the forgotten out of what stays beside it: what the embedder read before it, and the message that it was kept from."""
    value = point.value
    is_next = (conversation_of(str(value.get("thread"))), value.get("position")) in after  # a branch goes on counting
    if point.kind == "message" and (is_next or contains(point.payload.get("passage", ""), marks.words)):
        store.client.upsert(COLLECTION, points=[_alone(point)])
    older = [key for key in value.get("supersedes", []) if key not in marks.keys]
    links: dict[str, Any] = {"said": "", "supersedes": older, "of": None}
    cut = {name: empty for name, empty in links.items() if _names(value.get(name)) & marks.keys}
    if cut:
        selector = models.Filter(must=[models.HasIdCondition(has_id=[point.id])])
        store.client.set_payload(COLLECTION, cut, points=selector, key="value")
    if "of" in cut:  # of what it said again nothing is left: now it is the passage
        passages = point.namespace[:-1]
        payload = {**point.payload, "value": {**value, **cut}, "tags": moved(point.payload["tags"], passages)}
        note = models.PointStruct(id=point_id(passages, point.key), vector={}, payload=payload)
        store.client.upsert(COLLECTION, points=[note])
        store.client.delete(COLLECTION, points_selector=[point.id])


def _names(link: Any) -> set[str]:
    """The keys that a link of a value names."""
    return set(link) if isinstance(link, list) else {str(link)} - {"None"}


def _policy_without(policy: str, marks: Marks) -> str:
    """A tool policy without what is forgotten, that allows no more: a grant of it goes, a restriction holds for any arguments."""
    rules = json.loads(policy)
    rules["reads"] = [name for name in rules["reads"] if not marks.in_text(name)]
    rules["grants"] = [rule for rule in rules["grants"] if not marks.in_text(rule)]
    rules["restrictions"] = [
        {**rule, "when": {}} if marks.in_text(rule["when"]) else rule for rule in rules["restrictions"]
    ]
    return json.dumps(rules)


def lines_without(text: str, marks: Marks) -> str:
    """The lines of a block that hold nothing forgotten."""
    return "\n".join(line for line in text.split("\n") if not marks.in_line(line))


def _lines_of(value: Mapping[str, Any]) -> list[str]:
    """The lines of a block; of an edit, those before it and after it."""
    return [line for name in ("text", "before") for line in str(value.get(name) or "").split("\n")]


def _written(value: Mapping[str, Any]) -> set[str]:
    """The lines that an edit of a block wrote."""
    return set(str(value["text"]).split("\n")) - set(str(value["before"] or "").split("\n")) - {""}


def left(store: QdrantStore, marks: Marks) -> int:
    """How many points of the agent still hold something forgotten."""
    return sum(
        marks.mean(point.kind, point.key, point.value) or contains(point.payload, marks.words)
        for point in stored(store, marks.agent)
    )


def _rewrite(store: QdrantStore, point: Stored, **changes: Any) -> None:
    """Put another text into a value that no search ranks; of what is put aside, too."""
    value = {**point.value, **changes}
    kept = {
        name: part for name, part in point.payload.items() if name not in ("normalised", "folded", "lexical", "passage")
    }
    payload = {**kept, "value": value, **searched_fields(point.namespace, value, "", "")}
    store.client.upsert(COLLECTION, points=[models.PointStruct(id=point.id, vector={}, payload=payload)])


def _alone(point: Stored) -> models.PointStruct:
    """A message without what was said before it in what the embedder reads; it has no vector then, and gets one anew."""
    value = point.value
    passage = passage_of(str(value["author"]), str(value["text"]), datetime.fromisoformat(str(value["time"])), "")
    return models.PointStruct(id=point.id, vector={}, payload={**point.payload, "passage": passage[:PASSAGE]})


def purge(store: QdrantStore) -> list[str]:
    """Write the memory's files anew, so that no byte of what was deleted is left; returns what cannot be seen to here."""
    if not store.client.has_files:
        return ["the files of the Qdrant server, which clears deleted points itself when it next optimises"]
    store.client.rewrite(INDEXES)
    return []
