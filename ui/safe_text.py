"""Text from models, documents and memory as Markdown that loads nothing and is not read as mathematics."""

import re


def as_markdown(text: str) -> str:
    """Keep what a chat needs of Markdown. An image would be fetched at once, and its address could carry what was said."""
    parts = re.split(r"(```.*?(?:```|\Z)|`[^`\n]*`)", text, flags=re.S)  # code, which nothing is read from, stays
    return "".join(part if n % 2 else _plain(part) for n, part in enumerate(parts))


def _plain(text: str) -> str:
    text = re.sub(r"!(?=\[)", r"!\\", text)
    text = re.sub(r"<(?=[a-zA-Z/!])", r"\\<", text)
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def one_line(text: str, most: int = 80) -> str:
    """A label: no line breaks, no Markdown, at most `most` characters."""
    line = " ".join(text.split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return re.sub(r"([\\`*_{}\[\]<>()#+!|$:~-])", r"\\\1", line)
