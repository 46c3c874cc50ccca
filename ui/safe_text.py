"""Text from people, models, documents and memory on a page: shown as it was written, and loading nothing.

What a model writes gets the look of its Markdown (code, headings, emphasis), and keeps every mark of it: an image would be fetched
at once, and its address could carry what was said. Everything else is plain.
"""

import html
import re

import streamlit as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from text import one_line as one_plain_line

MARKDOWN = MarkdownIt("zero").enable(["fence", "heading", "backticks", "emphasis"])
PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
INDENT = re.compile(r"(?m)^[ \t]+")
"""Would make code of a line."""
BLANK = re.compile(r"(?m)^[ \t\f\v]+$")
TAGS = {"strong_open": "<strong>", "strong_close": "</strong>", "em_open": "<em>", "em_close": "</em>"}
WRITTEN = '<div style="white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.55">{}</div>'
CODE = '<span style="font-family: monospace; font-size: 0.9em; background: rgba(128, 128, 128, 0.12)">{}</span>'
BLOCK = CODE.replace("font-family", "display: inline-block; min-width: 100%; padding: 0.5em; font-family", 1)
HEADING = '<span style="font-weight: 600; font-size: 1.1em">{}</span>'
MARK = '<span style="opacity: 0.45">{}</span>'


def escaped(text: str) -> str:
    """The text for what takes Streamlit's Markdown, such as an error or a caption: all of it plain, its lines kept."""
    plain = PUNCTUATION.sub(r"\\\1", _with_line_feeds(text))
    return INDENT.sub(lambda indent: "&nbsp;" * len(indent[0].expandtabs(4)), plain).replace("\n", "  \n")


def one_line(text: str, most: int = 80) -> str:
    """A label: plain, without line breaks, at most `most` characters."""
    return escaped(one_plain_line(text, most))


def show_typed(text: str) -> None:
    """What a person typed, as typed."""
    st.html(typed_html(text))


def typed_html(text: str) -> str:
    """What a person typed, as HTML whose text is that text."""
    return _whole(html.escape(_with_line_feeds(text)))


def show_written(text: str) -> None:
    """What a model wrote."""
    st.html(written_html(text))


def written_html(text: str) -> str:
    """What a model wrote, as HTML whose text is that text."""
    text = _with_line_feeds(text)
    lines = text.split("\n")
    parts: list[str] = []
    done = 0
    tokens = MARKDOWN.parse(text)
    for number, token in enumerate(tokens):
        if token.map is None or token.level or token.type not in ("fence", "heading_open", "paragraph_open"):
            continue
        begin, end = token.map
        parts += [html.escape(line) for line in lines[done:begin]]
        source, done = "\n".join(lines[begin:end]), end
        if token.type == "fence":
            parts.append(BLOCK.format(html.escape(source)))
        else:
            inline = _inline(source, tokens[number + 1].children or [])
            parts.append(HEADING.format(inline) if token.type == "heading_open" else inline)
    parts += [html.escape(line) for line in lines[done:]]
    return _whole("\n".join(parts))


def _with_line_feeds(text: str) -> str:
    """As a browser reads it, where a tag may come between the two parts of a line's end."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _whole(text: str) -> str:
    """In a box. `st.html` empties lines that are white space alone, unless that is written in numbers."""
    return WRITTEN.format(BLANK.sub(lambda line: "".join(f"&#{ord(character)};" for character in line[0]), text))


def _inline(source: str, tokens: list[Token]) -> str:
    """The source with what the parser found in it marked; as it is, where the parser has read something else."""
    parts: list[str] = []
    at = 0
    for token in tokens:
        wanted = token.content if token.type == "text" else token.markup
        begin = source.find(wanted, at)
        if begin < 0 or (token.type == "text" and source[at:begin].strip(" \t#\r\n")):
            return html.escape(source)
        parts.append(html.escape(source[at:begin]))
        at = begin + len(wanted)
        if token.type == "code_inline":
            closing = re.compile(rf"(?<!`){wanted}(?!`)").search(source, at)
            if closing is None:
                return html.escape(source)
            parts.append(CODE.format(html.escape(source[begin : closing.end()])))
            at = closing.end()
        elif token.type in TAGS:
            mark, tag = MARK.format(html.escape(wanted)), TAGS[token.type]
            parts.append(mark + tag if token.type.endswith("close") else tag + mark)
        else:
            parts.append(html.escape(wanted))
    return "".join(parts) + html.escape(source[at:])
