"""What pages load from known addresses, served from here: Tailwind 2.2.19, and pictures of the placeholder services.

    python -m sandbox.cdn      # fills the cache from the npm registry; `make app` does it

The style sheet is checked by its sha256, and lies beside the installed packages. The pictures are drawn: a page asks for a size
only, and nobody can see whether it is a photograph of a beach.
"""

import hashlib
import html
import io
import itertools
import os
import re
import sys
import tarfile
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any

import tinycss2

PACKAGE = "tailwindcss/-/tailwindcss-2.2.19.tgz"
PACKAGE_SHA256 = "2a0fbe1dec8d0f7bbacfc56235bdb88b3c9c450ff692eb8ee33a5eff6187f57a"
FILE = "package/dist/tailwind.min.css"
FILE_SHA256 = "b6ad97402eddb903e7a5d7a73ee47a679204efbdda4521a391cbad9df509b932"
TAILWIND = re.compile(
    r"https?://[^\s\"'<>]*tailwindcss(?:@(?:\^|~|%5E)?2[\d.]*|@latest)?/[^\s\"'<>?]*\.css(?:\?[^\s\"'<>]*)?"
    r"|https?://[^\s\"'<>]*/tailwindcss/2\.[\d.]+/[^\s\"'<>?]*\.css(?:\?[^\s\"'<>]*)?",
    re.I,
)
"""Addresses of Tailwind 2 at jsdelivr, unpkg and cdnjs; without a version, the only one that is here is meant."""
PICTURES = re.compile(
    r"https?://(?:[\w-]+\.)?(?:picsum\.photos|source\.unsplash\.com|images\.unsplash\.com|via\.placeholder\.com|placehold\.(?:co|it)"
    r"|placekitten\.com|dummyimage\.com|loremflickr\.com|placeimg\.com|fakeimg\.pl)(?P<path>/[^\s\"'<>]*)?"
)
MOST_SIDE = 4_000  # pixels of a picture


class CdnMissing(RuntimeError):
    """The cache is not filled; the message says how to."""


def cached_file() -> Path:
    """Where the style sheet lies: with the environment that Palimpsest is installed in."""
    return Path(sys.prefix) / "share" / "palimpsest" / "tailwind-2.2.19.min.css"


def fill() -> Path:
    """Bring the style sheet from the npm registry, unless it is there. Raises OSError, and ValueError for another file."""
    path = cached_file()
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == FILE_SHA256:
        return path
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
    with urllib.request.urlopen(f"{registry}/{PACKAGE}", timeout=120) as answer:
        package = answer.read(8 << 20)
    _check(package, PACKAGE_SHA256, f"{registry}/{PACKAGE}")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile(FILE)
        assert member is not None
        sheet = member.read()
    _check(sheet, FILE_SHA256, FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(sheet)
    part.replace(path)
    return path


def _check(data: bytes, wanted: str, name: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise ValueError(f"{name} has the sha256 {found}, and not {wanted}: it is another file, and was not kept.")


def served(url: str, page: str) -> tuple[str, bytes] | None:
    """Content type and body for an address that `page`, its HTML, loads; None for an unknown one. Raises CdnMissing."""
    if TAILWIND.fullmatch(url):
        return "text/css", tailwind_for(page).encode()
    if picture := PICTURES.fullmatch(url):
        return "image/svg+xml", placeholder(picture["path"] or "").encode()
    return None


def prepare(page: str) -> None:
    """Read the style sheet, if the page links it: that takes seconds, once a process, and must not count as the page's time.

    Raises CdnMissing.
    """
    if TAILWIND.search(page):
        _rules()


def placeholder(path: str) -> str:
    """A picture of the size that the address names, in no colour that a design is likely to be about.

    >>> placeholder("/id/48/300/200")[:57]
    '<svg xmlns="http://www.w3.org/2000/svg" width="300" heigh'
    """
    path = re.sub(r"^/(?:id/\d+|seed/[^/]+)", "", path)
    found = re.search(r"(?:^|/)(\d{2,4})(?:[x/](\d{2,4}))?(?!\d)", path) or re.search(
        r"\bw=(\d{2,4})(?:.*?\bh=(\d{2,4}))?", path
    )
    width = min(MOST_SIDE, int(found[1])) if found else 640
    height = min(MOST_SIDE, int(found[2] or found[1])) if found else 480
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'preserveAspectRatio="none"><linearGradient id="s" x2="0" y2="1"><stop stop-color="#b9c6cf"/><stop offset="1" '
        'stop-color="#e9e4da"/></linearGradient><rect width="100%" height="100%" fill="url(#s)"/>'
        f'<path d="M0 {height}V{height * 0.7}L{width * 0.3} {height * 0.4}L{width * 0.55} {height * 0.72}L{width * 0.75} '
        f'{height * 0.52}L{width} {height * 0.8}V{height}Z" fill="#77858c"/></svg>'
    )


def tailwind_for(page: str) -> str:
    """The style sheet without the rules for classes that do not occur in the page: what is left looks the same, and is a
    hundredth as long. Without scripts no class can come later.
    """
    unescaped = html.unescape(page)
    words = {w for text in (page, unescaped) for w in re.split(r"[\s\"'<>=`]+", text)}
    kept: list[str] = []
    at: tuple[str, ...] = ()
    for around, rule, classes in _rules():
        if classes <= words:
            if around != at:
                kept += ["}" * len(at), *(f"{block}{{" for block in around)]
                at = around
            kept.append(rule)
    return "".join(kept) + "}" * len(at)


@lru_cache(maxsize=1)
def _rules() -> list[tuple[tuple[str, ...], str, frozenset[str]]]:
    """The sheet's rules: the blocks round each, such as `@media (min-width:640px)`, its text, and the classes it is for."""
    path = cached_file()
    if not path.exists():
        raise CdnMissing(
            "A page links Tailwind, which is not in the cache: run `python -m sandbox.cdn` once, with the npm registry in reach."
        )
    sheet = path.read_text(encoding="utf-8")
    _check(sheet.encode(), FILE_SHA256, str(path))
    return _flattened(tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True), ())


def _flattened(nodes: list[Any], around: tuple[str, ...]) -> list[tuple[tuple[str, ...], str, frozenset[str]]]:
    """Rules in their order, each with the media queries round it."""
    rules = []
    for node in nodes:
        if node.type == "at-rule" and node.lower_at_keyword == "media":
            inner = tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)
            rules += _flattened(inner, (*around, f"@media{tinycss2.serialize(node.prelude)}"))
        else:
            classes = _classes(node.prelude) if node.type == "qualified-rule" else frozenset()
            rules.append((around, node.serialize(), classes))
    return rules


def _classes(prelude: list[Any]) -> frozenset[str]:
    """Classes without which the rule matches nothing: those that all of its selectors have in common."""
    sets: list[set[str]] = [set()]
    for dot, name in itertools.pairwise([*prelude, None]):
        if dot == ",":
            sets.append(set())
        elif dot == "." and name is not None and name.type == "ident":
            sets[-1].add(name.value)  # those in a :not(…) are in a block of their own, and so not seen
    return frozenset(set.intersection(*sets))


if __name__ == "__main__":
    print(fill())
