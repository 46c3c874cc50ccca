"""Documents as text with positions: plain text, Markdown, HTML and PDF. Nothing in them is run, loaded or followed."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from bs4 import BeautifulSoup
from bs4.element import NavigableString, PreformattedString, Tag
from pypdf import PdfReader
from pypdf.errors import PyPdfError

KINDS = ("txt", "md", "html", "htm", "pdf")
HEADING = 200  # characters of a heading that are shown
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(frozen=True)
class Section:
    """A stretch of a document."""

    text: str
    position: str
    """Where it stands, for a reader: "page 3", or the heading above it."""


class UnreadableDocument(ValueError):
    """The file is not what its name says, is locked, or is of a kind that is not read here."""


def read_document(name: str, data: bytes) -> list[Section]:
    """The sections of the file `name`, whose ending says its kind. Raises UnreadableDocument."""
    kind = PurePath(name).suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise UnreadableDocument(f"{name}: files of this kind are not read. Use one of: {', '.join(KINDS)}.")
    if kind == "pdf":
        return list(_pdf(name, data))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableDocument(
            f"{name} is not UTF-8 text (byte {error.start}). Save it as UTF-8 and try again."
        ) from None
    text = clean_text(text)
    if kind in ("html", "htm"):
        return list(_html(text))
    return list(_markdown(text)) if kind == "md" else [Section(text, "")]


def clean_text(text: str) -> str:
    """Replace what no store or terminal can carry (NUL, lone surrogates) by U+FFFD; keep everything else."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _pdf(name: str, data: bytes) -> Iterator[Section]:
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocument(f"{name} is locked with a password. Save a copy without one.")
        for number, page in enumerate(reader.pages, start=1):
            yield Section(clean_text(page.extract_text()), f"page {number}")
    except (PyPdfError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UnreadableDocument):
            raise
        # pypdf meets a damaged file with whatever the damage makes it trip over.
        raise UnreadableDocument(f"{name} cannot be read as a PDF ({error}). Save it again, or as text.") from error


def _markdown(text: str) -> Iterator[Section]:
    heading, fenced = "", False
    lines: list[str] = []
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        title = None if fenced else re.match(r" {0,3}#{1,6}[ \t]+(?=\S)", line)
        if title:
            yield Section("\n".join(lines).strip(), heading)
            heading, lines = line[title.end() :].rstrip().rstrip("#").rstrip()[:HEADING], []
        lines.append(line)
    yield Section("\n".join(lines).strip(), heading)


def _html(text: str) -> Iterator[Section]:
    page = BeautifulSoup(text, "html.parser")
    for hidden in page(["script", "style", "template", "noscript", "head"]):
        hidden.decompose()
    heading = ""
    parts: list[str] = []
    for node in page.descendants:  # in the order of the text, without going up from each
        if isinstance(node, Tag) and node.name in HEADINGS:
            yield Section("\n".join(parts), heading)
            heading, parts = " ".join(node.get_text(" ").split())[:HEADING], []
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):  # comments, declarations
            parts += [" ".join(node.split())] if node.strip() else []
    yield Section("\n".join(parts), heading)
