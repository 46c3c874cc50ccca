"""An agent as one file: its memories and conversations as JSON lines in a ZIP (docs/archive.md), the same bytes for the same agent.

What is read is checked line by line before anything is written. A line names no agent: whose memory it becomes is said by who
imports it, so no file reaches another agent's.
"""

import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError
from qdrant_client import models

from memory.blocks import BRANCH, conversation_of
from memory.branches import Branch, Branches
from memory.conditions import Namespace
from memory.forget import TIERS
from memory.points import COLLECTION, LANGUAGE, NOT_ENGLISH, WORDING, point_id, searched_fields
from memory.recall import Role, Trust
from memory.store import QdrantStore
from memory.stored import Stored
from memory.words import ENGLISH

MANIFEST = "manifest.json"
LONGEST_LINE = 32 * 2**20  # bytes
FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # of a ZIP; the day of writing would change the bytes

Checked = TypeVar("Checked")


class NoArchive(ValueError):
    """The file is no archive of an agent, or not all of it can be read."""


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("no time zone")
    return text


def _label(text: str) -> str:
    if not text or "." in text:
        raise ValueError("not a label of a namespace")
    return text


def _storable(value: Any) -> Any:
    """Numbers that Qdrant can hold."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _storable(part)
    elif isinstance(value, int | float) and not -(2.0**63) <= value < 2.0**63:
        raise ValueError(f"the number {value} is too large")
    return value


Moment = Annotated[str, AfterValidator(_moment)]
Label = Annotated[str, AfterValidator(_label)]


class ArchiveRow(BaseModel):
    """A line of a file in the archive."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Manifest(ArchiveRow):
    """What the archive says of itself."""

    format: Literal["palimpsest agent"] = "palimpsest agent"
    version: Literal[1] = 1
    agent: str
    """The name that the agent had."""
    memories: int
    conversations: int


class MemoryRow(ArchiveRow):
    """A memory: what it holds, where and when, and what searches read of it. Its vectors are made anew."""

    namespace: list[Label] = Field(min_length=1)
    """Below the agent's."""
    key: str = Field(min_length=1)
    value: Annotated[dict[str, JsonValue], AfterValidator(_storable)]
    time: Moment
    sequence: Annotated[int, AfterValidator(_storable)]
    created_at: Moment
    updated_at: Moment
    words: str = ""
    """What BM25 ranks it by."""
    language: str = Field(ENGLISH, pattern=r"[a-z]{2,3}|unspaced")
    """Of the words."""
    passage: str = ""
    """What the embedder reads."""


class ConversationRow(ArchiveRow):
    """The last state of a conversation, or of a branch of one."""

    thread: str = Field(min_length=1)
    state: dict[str, Any]


class BranchRow(ArchiveRow):
    """One branch (memory.branches)."""

    thread: str
    parent: str
    since: str
    begun: str


class BranchesRow(ArchiveRow):
    """The branches of a conversation."""

    conversation: str = Field(min_length=1)
    branches: list[BranchRow] = Field(min_length=1)
    actives: list[tuple[str, str]] = Field(min_length=1)
    settled: bool


class _Said(BaseModel):
    """What is needed of a message's value."""

    text: str
    role: Role
    author: str
    trust: Trust
    thread: str
    sequence: int
    position: int | None
    time: Moment


class _Kept(BaseModel):
    """What is needed of a passage's."""

    text: str
    source: str
    position: str
    author: str
    trust: Trust
    time: Moment
    supersedes: list[str] = []


class _Wording(_Kept):
    """What is needed of another wording's."""

    of: str


class _Learnt(BaseModel):
    """What is needed of a lesson's."""

    text: str
    lesson: str
    outcome: Literal["failed", "passed", "error"]
    source: str
    outcomes: str


class _Block(BaseModel):
    text: str


class _Edit(BaseModel):
    block: str
    text: str
    before: str | None


class _Document(BaseModel):
    version: str


class _Titled(BaseModel):
    title: str


VALUES: dict[str, type[BaseModel]] = {
    "message": _Said, "passage": _Kept, "wording": _Wording, "lesson": _Learnt, "block": _Block, "block_version": _Edit,
    "document": _Document, "thread": _Titled,
}  # fmt: skip
"""What pages and prompts read of each kind of memory; of other kinds, which other LangGraph tools write, nothing is asked."""


# ---- a memory as a line, and back ----------------------------------------------------------------------------------------


def row_of(point: Stored) -> MemoryRow:
    """The line of a memory."""
    payload = point.payload
    language = next((tag.removeprefix(LANGUAGE) for tag in payload["tags"] if tag.startswith(LANGUAGE)), ENGLISH)
    times = {name: payload[name] for name in ("time", "sequence", "created_at", "updated_at")}
    return MemoryRow(
        namespace=list(point.namespace[1:]), key=point.key, value=point.value, words=payload.get("lexical", ""),
        language=language, passage=payload.get("passage", ""), **times,
    )  # fmt: skip


def payload_of(agent: str, row: MemoryRow) -> tuple[str, dict[str, Any]]:
    """The id and the payload of the point that a line becomes as a memory of `agent`."""
    namespace: Namespace = (agent, *row.namespace)
    kept = {name: getattr(row, name) for name in ("key", "value", "time", "sequence", "created_at", "updated_at")}
    payload = kept | searched_fields(namespace, row.value, "", row.passage)
    if row.words:
        payload["lexical"] = row.words
    if row.language != ENGLISH:
        payload["tags"] = [*payload["tags"], NOT_ENGLISH, LANGUAGE + row.language]
    if row.passage:
        payload["passage"] = row.passage
    return point_id(namespace, row.key), payload


def insert_rows(store: QdrantStore, agent: str, rows: Iterable[MemoryRow]) -> Counter[str]:
    """Write those that the agent does not have yet; returns how many of each tier."""
    made = [(*payload_of(agent, row), row.namespace[-1]) for row in rows]
    ids = [number for number, _, _ in made]
    known = {record.id for record in store.client.retrieve(COLLECTION, ids=ids, with_payload=False)}
    new = [(number, payload, kind) for number, payload, kind in made if number not in known]
    if new:
        store.insert([models.PointStruct(id=number, vector={}, payload=payload) for number, payload, _ in new])
    return Counter(TIERS.get(kind, kind) for _, _, kind in new)


def renamed(row: MemoryRow, names: Mapping[str, str]) -> MemoryRow:
    """The line with its conversation under another name."""
    links = {name: renamed_thread(str(row.value[name]), names) for name in ("thread", "left") if row.value.get(name)}
    key = renamed_thread(row.key, names) if row.namespace[-1] == "thread" else row.key
    return row.model_copy(update={"key": key, "value": {**row.value, **links}})


def renamed_thread(thread: str, names: Mapping[str, str]) -> str:
    """The thread of a conversation, or of a branch of one, under the conversation's new name."""
    conversation = conversation_of(thread)
    return thread.removesuffix(conversation) + names.get(conversation, conversation)


# ---- the file ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Archive:
    """An archive that was read to its end once and found whole."""

    manifest: Manifest
    branches: list[Branches]
    _file: zipfile.ZipFile

    def memories(self) -> Iterator[MemoryRow]:
        """Its memories, in the order in which they were written."""
        return _rows(self._file, "memories.jsonl", _memory)

    def conversations(self) -> Iterator[ConversationRow]:
        """The states of its conversations and their branches."""
        return _rows(self._file, "conversations.jsonl", ConversationRow.model_validate_json)


def write_archive(
    path: Path, agent: str, memories: Sequence[MemoryRow], conversations: Sequence[ConversationRow], branches: Sequence[Branches],
) -> None:  # fmt: skip
    """Write the file, whole or not at all, for its owner alone."""
    manifest = Manifest(agent=agent, memories=len(memories), conversations=len(conversations))
    ordered = sorted(memories, key=lambda row: (row.sequence, row.namespace, row.key))
    states = sorted(conversations, key=lambda row: row.thread)
    told = [_branches_row(tree) for tree in sorted(branches, key=lambda tree: tree.conversation)]
    partial = path.with_name(f"{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600), "wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            _write(archive, MANIFEST, [manifest])
            _write(archive, "memories.jsonl", ordered)
            _write(archive, "conversations.jsonl", states)
            _write(archive, "branches.jsonl", told)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _write(archive: zipfile.ZipFile, name: str, rows: Iterable[BaseModel]) -> None:
    about = zipfile.ZipInfo(name, FIRST_DAY)
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = 0o600 << 16
    with archive.open(about, "w", force_zip64=True) as file:
        for row in rows:
            text = json.dumps(row.model_dump(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            file.write(text.encode() + b"\n")


def is_archive(file: IO[bytes]) -> bool:
    """Whether a file is meant to be one."""
    try:
        with zipfile.ZipFile(file) as archive:
            return MANIFEST in archive.namelist()
    except zipfile.BadZipFile:
        return False
    finally:
        file.seek(0)


def read_archive(file: IO[bytes]) -> Archive:
    """The archive in an open file, every line of it checked. Raises NoArchive, naming the line and what is wrong with it."""
    try:
        return _checked(zipfile.ZipFile(file))
    except zipfile.BadZipFile as error:
        raise NoArchive(f"This is no archive of an agent: {error}.") from error


def _checked(archive: zipfile.ZipFile) -> Archive:
    manifest = next(_rows(archive, MANIFEST, Manifest.model_validate_json), None)
    if manifest is None:
        raise NoArchive(f"{MANIFEST} is empty: the archive was not written to its end.")
    trees = list(_rows(archive, "branches.jsonl", _tree))
    found = Archive(manifest, trees, archive)
    counts = (sum(1 for _ in found.memories()), sum(1 for _ in found.conversations()))
    if counts != (manifest.memories, manifest.conversations):
        raise NoArchive(
            f"The archive holds {counts[0]:,} memories and {counts[1]:,} conversations, but should hold {manifest.memories:,} and "
            f"{manifest.conversations:,}: parts of it are missing."
        )
    return found


def _rows(archive: zipfile.ZipFile, name: str, make: Callable[[bytes], Checked]) -> Iterator[Checked]:
    try:
        with archive.open(name) as file:
            for number, line in enumerate(iter(lambda: _line(file), b""), 1):
                try:
                    yield make(line)
                except (ValidationError, ValueError, RecursionError) as error:
                    raise NoArchive(f"{name}, line {number}: {_told(error)}") from error
    except KeyError:
        raise NoArchive(f"There is no {name} in it: this is no archive of an agent.") from None
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise NoArchive(f"{name} is damaged: {error}.") from error


def _line(file: IO[bytes]) -> bytes:
    line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise NoArchive(f"A line is longer than {LONGEST_LINE:,} bytes.")
    return line


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _memory(line: bytes) -> MemoryRow:
    row = MemoryRow.model_validate_json(line)
    kind = row.namespace[-1]
    if kind in VALUES:
        VALUES[kind].model_validate(row.value)
    if kind == WORDING and row.namespace[-2:-1] != ["passage"]:  # a forget makes it one of what is above it
        raise ValueError("another wording of what is no passage")
    if kind == "thread" and BRANCH.fullmatch(row.key):
        raise ValueError(f"A conversation cannot have the name {row.key!r}.")
    return row


def _branches_row(tree: Branches) -> BranchesRow:
    branches = [BranchRow(**asdict(branch)) for branch in tree.branches]
    return BranchesRow(
        conversation=tree.conversation, branches=branches, actives=list(tree.actives), settled=tree.settled
    )


def _tree(line: bytes) -> Branches:
    """Branches whose parents come before them, and whose threads are this conversation's."""
    row = BranchesRow.model_validate_json(line)
    branches = tuple(Branch(**branch.model_dump()) for branch in row.branches)
    known: set[str] = set()
    for number, branch in enumerate(branches):
        is_first = branch.thread == row.conversation and not branch.parent
        if conversation_of(branch.thread) != row.conversation or not (
            branch.parent in known or (not number and is_first)
        ):
            raise ValueError(f"{branch.thread!r} is no branch of {row.conversation!r}.")
        known.add(branch.thread)
        for moment in (branch.since, branch.begun) if number else ():
            _moment(moment)
    for since, thread in row.actives:
        if thread and thread not in known:
            raise ValueError(f"There is no branch {thread!r}.")
        if since:
            _moment(since)
    if not row.actives[0][1]:
        raise ValueError("the first branch was never active")
    return Branches("", row.conversation, branches, tuple(row.actives), row.settled)
