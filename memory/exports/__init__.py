"""Exports of other systems, told by what is in them: ChatGPT, Claude, mem0, Letta, Markdown and JSON lines."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import IO, Any

from memory.exports.chatgpt import is_chatgpt, read_chatgpt
from memory.exports.claude import is_claude, read_claude
from memory.exports.letta import is_letta, read_letta
from memory.exports.mem0 import is_mem0, read_mem0
from memory.exports.plain import are_rows, read_markdown, read_rows
from memory.exports.records import Record, Unread

READERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Iterator[Record]]], ...] = (
    (is_chatgpt, read_chatgpt), (is_claude, read_claude), (is_letta, read_letta), (is_mem0, read_mem0),
)  # fmt: skip
MOST_BYTES = 2**31
"""Of the files of a ZIP that are read, unpacked."""
KNOWN = (
    "ChatGPT's and Claude's conversations.json, mem0's memories, Letta's .af, Markdown, JSON lines, and a ZIP of these"
)


class NotAnExport(ValueError):
    """The file is none of those that can be read."""


def read_export(name: str, file: IO[bytes]) -> list[Record]:
    """What a file holds; in a ZIP each file of a known kind is read. Raises NotAnExport, which says what can be read."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        found = _read(name, file.read())
    else:
        try:
            with zipfile.ZipFile(file) as archive:
                size = sum(about.file_size for about in archive.infolist() if _may_hold(about.filename))
                if size > MOST_BYTES:
                    raise NotAnExport(
                        f"{name} unpacks to {size:,} bytes, more than the {MOST_BYTES:,} that can be read."
                    )
                parts = [_part(part, archive.read(part)) for part in sorted(archive.namelist()) if _may_hold(part)]
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise NotAnExport(
                f"{name} cannot be unpacked ({error}). Unpack it yourself, and give the file in it."
            ) from error
        known = [part for part in parts if part is not None]
        found = [record for part in known for record in part] if known else None
    if found is None:
        raise NotAnExport(f"{name} is nothing that can be imported. Files that can: {KNOWN}.")
    return found


def _may_hold(name: str) -> bool:
    return PurePath(name).suffix.lower() in (".json", ".jsonl", ".af", ".md") and not name.startswith("__MACOSX/")


def _part(name: str, content: bytes) -> list[Record] | None:
    """The records of a file in a ZIP; one that cannot be read costs no other."""
    try:
        return _read(name, content)
    except NotAnExport as error:
        return [Unread(name, str(error))]


def _read(name: str, content: bytes) -> list[Record] | None:
    """The records of one file; None if it is of no known kind."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotAnExport(f"{name} is not text in UTF-8 ({error.reason}).") from error
    kind = PurePath(name).suffix.lower()
    if kind in (".md", ".markdown", ".txt"):
        return list(read_markdown(text))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = [_value(line) for line in text.split("\n") if line.strip()]
    else:
        for fits, read in READERS:
            if fits(data):
                return list(read(data))
    rows = data if isinstance(data, list) else [data]
    return list(read_rows(rows)) if are_rows(rows) else None


def _value(line: str) -> Any:
    """The value of a line of JSON lines; the line itself if it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line
