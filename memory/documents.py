"""Documents as text with positions: plain text, Markdown, HTML and PDF. Nothing in them is run, loaded or followed."""

import codecs
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import PurePath

from markdown_it import MarkdownIt
from mdit_py_plugins.front_matter import front_matter_plugin
from pypdf import PdfReader
from pypdf.errors import DependencyError

from memory.page_text import page_sections
from text import clean_text

KINDS = ("txt", "md", "html", "htm", "pdf")
HEADING = 200  # characters of a heading that are shown
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
DECLARED = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml[^>]+encoding\s*=\s*["']([\w.:-]+)""", re.I)
LATIN = "windows-1252"  # what browsers take for Latin-1
MOST_ACCENTED = 1 / 3  # of a text's bytes: Latin-1 with more is another encoding
LINE = re.compile(r"\r\n|\r|\n")
BROKEN_WORD = re.compile(r"(\w+)([-\u2010\u00ad])[ \t]*\n[ \t]*(\w+)")


@dataclass(frozen=True)
class Section:
    """A stretch of a document; the texts of all sections together are the document's."""

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
        return _pdf(name, data)
    text = clean_text(_decoded(name, data, is_page=kind in ("html", "htm")))
    if kind in ("html", "htm"):
        return [Section(part, position[:HEADING]) for part, position in page_sections(text)]
    return _markdown(text) if kind == "md" else [Section(text, "")]


def _decoded(name: str, data: bytes, is_page: bool) -> str:
    """The text of the bytes: by their mark, by what a page declares, as UTF-8, UTF-16 without a mark, or Latin-1."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return _strictly(name, data, encoding)
    if is_page and (declared := _declared(data)):
        try:
            return data.decode(declared)
        except UnicodeDecodeError:
            pass  # it is wrong about itself, as many pages are
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text and "\x00" not in text:
        return text
    zeros = (data[0::2].count(0), data[1::2].count(0))
    if len(data) % 2 == 0 and max(zeros) > len(data) // 8:
        return _strictly(name, data, "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le")
    return text or _strictly(name, data, LATIN)


def _declared(data: bytes) -> str:
    found = DECLARED.search(data[:2048])
    try:
        name = codecs.lookup((found[1] or found[2]).decode()).name if found else ""
    except LookupError:
        return ""
    if name.startswith(("utf-16", "utf-32")):
        return "utf-8"  # or the declaration could not have been read
    return LATIN if name in ("iso8859-1", "ascii") else name


def _strictly(name: str, data: bytes, encoding: str) -> str:
    accented = sum(byte > 127 for byte in data) / max(1, len(data))
    try:
        if encoding == LATIN and accented > MOST_ACCENTED:
            raise ValueError
        return data.decode(encoding)
    except ValueError:
        wrong = next((n for n, byte in enumerate(data) if byte > 127), 0)
        raise UnreadableDocument(
            f"{name} is not UTF-8 text (byte {wrong}), nor UTF-16 or Latin-1. Save it as UTF-8 and try again."
        ) from None


def _pdf(name: str, data: bytes) -> list[Section]:
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocument(f"{name} is locked with a password. Save a copy without one.")
        pages = [clean_text(page.extract_text()) for page in reader.pages]
    except UnreadableDocument:
        raise
    except DependencyError as error:
        raise UnreadableDocument(
            f"{name} is encrypted with AES, which needs an extra of pypdf: pip install 'pypdf[crypto]'."
        ) from error
    except Exception as error:  # a damaged file makes pypdf trip over anything: assertions, indexes, recursion
        raise UnreadableDocument(
            f"{name} cannot be read as a PDF ({type(error).__name__}: {str(error)[:200]}). Save it again, or as text."
        ) from error
    whole = "\n".join(pages)
    pages = [BROKEN_WORD.sub(lambda broken: _mended(broken, whole), page) for page in pages]
    between = ["\n\n"] * (len(pages) - 1) + [""]
    return [Section(page + end, f"page {n}") for n, (page, end) in enumerate(zip(pages, between, strict=True), 1)]


def _mended(broken: re.Match[str], whole: str) -> str:
    """A word that was broken at a line's end, in one piece: with its hyphen where the document writes it so elsewhere, and where
    more hyphens, a single letter, a capital or a figure tell of a compound.
    """
    first, hyphen, second = broken.groups()
    if hyphen == "\u00ad":
        return first + second
    around = broken.string[max(0, broken.start() - 1) : broken.start()] + broken.string[broken.end() : broken.end() + 1]
    compound = len(first) == 1 or "-" in around or not second[0].islower() or not first[-1].isalpha()
    keeps = compound or f"{first}-{second}" in whole
    return f"{first}-{second}" if keeps else first + second


def _markdown(text: str) -> list[Section]:
    """A section for each heading that is one by CommonMark: not in code, a quotation, a list or the front matter."""
    tokens = MarkdownIt("commonmark").use(front_matter_plugin).parse(text)
    headings = [
        (token.map[0], "".join(child.content for child in inline.children or []))
        for token, inline in itertools.pairwise(tokens)
        if token.type == "heading_open" and token.level == 0 and token.map
    ]
    begins = [0, *(match.end() for match in LINE.finditer(text))]  # of each line
    cuts = [0, *(begins[line] for line, _ in headings), len(text)]
    titles = ["", *(title[:HEADING] for _, title in headings)]
    spans = zip(itertools.pairwise(cuts), titles, strict=True)
    return [Section(text[begin:end], title) for (begin, end), title in spans if begin < end]
