"""The text of an HTML page as a browser shows it: what is hidden left out, white space collapsed, a line for each block.

Follows `innerText` (HTML standard, "rendered text collection steps"), but for what style sheets do. The parser is Lexbor's, which
reads any markup as browsers do.
"""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

HEADINGS = frozenset("h1 h2 h3 h4 h5 h6".split())
HIDDEN = frozenset(
    "script style template noscript head title textarea video audio canvas object iframe embed datalist rp".split()
)
PARAGRAPHS = frozenset("p".split())
BLOCKS = (
    HEADINGS
    | PARAGRAPHS
    | frozenset(
        "address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer form "
        "header hgroup hr html legend li listing main menu nav ol optgroup option pre search section select summary table caption "
        "tbody tfoot thead tr ul xmp".split()
    )
)
PREFORMATTED = frozenset("pre listing xmp".split())
CELLS = frozenset("td th".split())
NOT_SHOWN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
SPACE = re.compile(r"[ \t\n\r\f]+")


def page_sections(html: str) -> Iterator[tuple[str, str]]:
    """(text, heading above it) for each stretch of the page; all texts together are the page's."""
    flow = _Flow()
    heading, preformatted = "", 0
    for node, enters in _steps(html):
        tag = node.tag
        if tag == "-text" and enters:
            flow.write(node.text_content or "", bool(preformatted))
        elif tag == "br" and enters:
            flow.break_line()
        elif tag in CELLS and enters:
            flow.begin_cell(is_first=_is_first_cell(node))
        elif tag in BLOCKS:
            preformatted += (1 if enters else -1) if tag in PREFORMATTED else 0
            if tag in HEADINGS and enters:
                yield flow.take(), heading
            elif tag in HEADINGS:
                heading = " ".join(flow.written().split())
            flow.begin_line(2 if tag in PARAGRAPHS else 1)
    yield flow.take(), heading


class _Flow:
    """Text as it is laid out: line breaks and spaces are put down when something follows them."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._between = ""
        """What stands before the next text."""
        self._begun = False
        """Whether there is any text before it."""

    def write(self, text: str, preformatted: bool) -> None:
        """A text node."""
        if not preformatted:
            text = SPACE.sub(" ", text)
            if text.startswith(" "):
                self._between = self._between or " "
        stripped = text if preformatted else text.strip(" ")
        if not stripped:
            return
        if self._begun:
            self._parts.append(self._between)
        self._parts.append(stripped)
        self._begun = True
        self._between = " " if not preformatted and text.endswith(" ") else ""

    def begin_line(self, breaks: int) -> None:
        """What follows stands on a line of its own; 2: after an empty one."""
        if self._between.count("\n") < breaks:
            self._between = "\n" * breaks

    def break_line(self) -> None:
        """A line break that the page asks for, however many there are before."""
        self._between = self._between.strip(" \t") + "\n"

    def begin_cell(self, is_first: bool) -> None:
        """A cell of a table."""
        if not is_first:
            self._between = "\t"

    def written(self) -> str:
        """What was written since the last `take`."""
        return "".join(self._parts)

    def take(self) -> str:
        """The same, which is then forgotten."""
        taken, self._parts = self.written(), []
        return taken


def _steps(html: str) -> Iterator[tuple[LexborNode, bool]]:
    """(node, whether it is entered or left) in the order of the text, without what is hidden; no recursion, however deep."""
    node, enters, depth = LexborHTMLParser(html).root, True, 0
    while node is not None and depth >= 0:
        if enters and not _is_hidden(node):
            yield node, True
            if (child := node.first_child) is not None:
                node, depth = child, depth + 1
                continue
            yield node, False
        elif not enters:
            yield node, False
        if depth and node.next is not None:
            node, enters = node.next, True
        else:
            node, enters, depth = node.parent, False, depth - 1


def _is_hidden(node: LexborNode) -> bool:
    if node.tag in HIDDEN or node.tag in ("-comment", "-document_type"):
        return True
    attributes = node.attributes if node.tag and not node.tag.startswith("-") else {}
    return "hidden" in attributes or bool(NOT_SHOWN.search(attributes.get("style") or ""))


def _is_first_cell(node: LexborNode) -> bool:
    before = node.prev
    while before is not None and before.tag not in CELLS:
        before = before.prev
    return before is None
