"""Plain text: cleaned, folded for search, cut, on one line, and JSON lines read from files."""

import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

IGNORED = "Cf"  # Unicode category: soft hyphens, zero-width marks and the like, which nobody types into a search
TURKISH = str.maketrans({"\u0131": "i", "\u0307": ""})  # dotless i, and the dot that lower case leaves on a capital İ

Made = TypeVar("Made")


def clean_text(text: str) -> str:
    """Replace what no store or terminal can carry (NUL, lone surrogates) by U+FFFD; keep everything else."""
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def normalised(text: str) -> str:
    """The text as searches compare it: one form of each character (NFKC), without characters that cannot be seen.

    >>> normalised("re\\u0301sume\\u0301") == normalised("résumé")
    True
    """
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != IGNORED)


def folded(text: str) -> str:
    """`normalised`, and the same for upper and lower case in every script.

    >>> folded("\\u0130stanbul"), folded("STRASSE") == folded("Straße")
    ('istanbul', True)
    """
    if text.isascii():
        return text.lower()
    lower = normalised(normalised(text).casefold())
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", lower).translate(TURKISH))


def find_folded(text: str, query: str) -> int:
    """Where `query` begins in `text` when both are folded, as an index into `text`; -1 if it is not there."""
    if text.isascii() and query.isascii():
        return text.lower().find(query.lower())
    places: list[int] = []
    parts: list[str] = []
    for at, character in enumerate(text):
        part = unicodedata.normalize("NFD", folded(character))
        parts.append(part)
        places += [at] * len(part)
    found = "".join(parts).find(unicodedata.normalize("NFD", folded(query)))
    return places[found] if 0 <= found < len(places) else -1


def one_line(text: str, most: int) -> str:
    """The text without line breaks, in at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def read_json_lines(path: Path, failure: type[ValueError] = ValueError) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) for each line of a file of JSON lines that is not blank.

    Only a line feed ends a line: U+2028 and its like may stand inside a JSON text. Raises `failure`, naming file and line.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise failure(f"{path}, line {number}: not JSON ({error}).") from error


def read_rows(path: Path, make: Callable[[Any], Made], failure: type[ValueError] = ValueError) -> Iterator[Made]:
    """What `make` makes of each line of a file of JSON lines. Raises `failure`, naming the file, the line and what is wrong."""
    for number, row in read_json_lines(path, failure):
        try:
            made = make(row)
        except ValueError as error:
            raise failure(f"{path}, line {number}: {error}") from error
        except KeyError as error:
            raise failure(f"{path}, line {number}: the field {error} is missing.") from error
        except TypeError as error:
            raise failure(f"{path}, line {number}: not a row as it is read here ({error!r}).") from error
        yield made
