"""The program in the text of an answer: out of fences of any tag, or out of the prose around it."""

import ast
import builtins
import html
import re
import textwrap
from collections.abc import Iterator
from functools import lru_cache

from markdown_it import MarkdownIt

MARKDOWN = MarkdownIt("zero").enable("fence")
"""Fences alone, however deep they are indented."""
TAG = re.compile(r"[\w+#.-]*")
LATE_MARK = re.compile(r"^(.*[^\s`])[ \t]*(`{3,}[\w+#.-]*)[ \t]*$", re.M)
DEFINES = re.compile(r"^(?:async def|def|class) ", re.M)
BEGINS = re.compile(r"(?:import|from|def|class|async def)\s|@\w|[A-Za-z_]\w*(?:\s*:[^=]+)?\s*=[^=]")
"""How a line of code at the margin begins."""
QUOTED = re.compile(r"(?m)^(?:[ \t]*>)+[ ]?")
"""Marks of a quotation."""
MOST_CUTS = 60  # of one piece of prose with code in it
NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python's parser raises for text that is no program, however odd."""
IMPORT = ast.Import | ast.ImportFrom
DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
STATEMENTS = IMPORT | DEFINITION | ast.Assign | ast.AnnAssign


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Tag and code of each fenced block, in their order; one that is not closed goes to the end."""
    return [
        (_tag(token.info), textwrap.dedent(token.content)) for token in MARKDOWN.parse(text) if token.type == "fence"
    ]


def outside_fences(text: str) -> str:
    """The text with spaces in place of its fenced blocks."""
    lines = text.split("\n")
    for token in MARKDOWN.parse(text):
        if token.type == "fence" and token.map:
            begin, end = token.map
            lines[begin:end] = [" " * len(line) for line in lines[begin:end]]
    return "\n".join(lines)


def _tag(info: str) -> str:
    found = TAG.match(info.strip())
    return found[0].lower() if found else ""


def program_in(text: str) -> str:
    """The program of a reply: of its fenced blocks the last that defines something, of those that are Python or untagged;
    else the last of these, else the longest block, else all of it.
    """
    blocks = _blocks(text)
    if not blocks:
        return text.strip() + "\n"
    tagged = [code for tag, code in blocks if tag in ("py", "python", "python3")]
    python = tagged or [code for tag, code in blocks if not tag]
    defining = [code for code in python if DEFINES.search(code)] or [
        c for t, c in blocks if not t and DEFINES.search(c)
    ]
    if defining or python:
        return (defining or python)[-1]
    return max((code for _, code in blocks), key=len)


@lru_cache(maxsize=512)
def program_for(text: str, function: str) -> str:
    """The program of an answer that is to define `function`, at its top level or as a method of a class.

    The last fenced block that defines it counts, with those others that bind names it needs; without fences, all of the text,
    or the lines of it that are Python. Text that defines it nowhere comes back as `program_in` has it.
    """
    text = text.replace("\r\n", "\n")
    seen = re.sub("[\ufeff\u200b\u2060]", "", text.replace("\u00a0", " "))
    tries = (text, seen, QUOTED.sub("", seen))
    return next((found for one in dict.fromkeys(tries) if (found := _program(one, function))), program_in(text))


def _program(text: str, function: str) -> str:
    """The program in it that defines the function; empty if there is none."""
    codes = [code for _, code in _blocks(text)]
    having = [n for n, code in enumerate(codes) if _owner(code, function) is not None]
    if having:
        return _reachable(_joined(codes, having[-1], function), function)
    inline = re.findall(r"`{1,3}(?:python|py)?\s*((?:def|import|from|class) [^`]+)`{1,3}", text)
    marked = [html.unescape(code) for code in re.findall(r"<code[^>]*>(.*?)</code>", text, re.S | re.I)]
    whole = [*codes, textwrap.dedent(text)]
    for code in [*whole, *inline, *marked]:
        if _owner(code, function) is not None:
            return _reachable(code, function)
    return next((_reachable(found, function) for code in whole if (found := _lines_of_code(code, function))), "")


def simplified_variants(program: str) -> Iterator[str]:
    """The program with less and less that its top level does, for one that does not load: a call of input(), a loop, a test of its
    own are no part of the function. Definitions, imports that are used, and constants stay; then constants go that its own
    functions make, or that are made of what is nowhere bound; then those that any call makes. Annotations are not evaluated.
    """
    tree = _tree(program)
    if tree is None:
        return
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    kept = [node for node in tree.body if _imports(node) or isinstance(node, STATEMENTS)]
    kept = [n for n in kept if not isinstance(n, IMPORT) or used & set(_names(n)) or "*" in _names(n)]
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    kept = [n for n in kept if not (isinstance(n, ast.ImportFrom) and n.module == "__future__")]
    own = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)} | {"input", "open"}
    own |= used - _bound(program) - set(dir(builtins))
    for makes in (set[str](), own, None):
        left = [n for n in kept if not isinstance(n, ast.Assign | ast.AnnAssign) or not _needs(n, makes)]
        yield ast.unparse(ast.Module([future, *left], []))


def _imports(node: ast.stmt) -> bool:
    """Whether it is a `try` or `if` that only decides what is imported."""
    if not isinstance(node, ast.Try | ast.If):
        return False
    inner = [*node.body, *node.orelse, *[s for h in getattr(node, "handlers", []) for s in h.body]]
    return any(isinstance(s, IMPORT) for s in inner) and all(
        isinstance(s, IMPORT | ast.Assign | ast.Pass) for s in inner
    )


def _needs(node: ast.Assign | ast.AnnAssign, names: set[str] | None) -> bool:
    """Whether a constant is made with one of these names, or of the command line; None: with any call."""
    if node.value is None or names == set():
        return False
    parts = list(ast.walk(node.value))
    if names is None:
        return any(isinstance(part, ast.Call) for part in parts)
    return any(
        (isinstance(p, ast.Name) and p.id in names) or (isinstance(p, ast.Attribute) and p.attr == "argv")
        for p in parts
    )


def _joined(codes: list[str], main: int, function: str) -> str:
    """The main block with those others that bind names which it needs and does not bind; the nearest before it first."""
    chosen = {main}
    while True:
        bound = {name for n in chosen for name in _bound(codes[n])}
        needed = {name for n in chosen for name in _used(codes[n])} - bound - set(dir(builtins))
        free = [n for n in (*range(main - 1, -1, -1), *range(main + 1, len(codes))) if n not in chosen]
        more = next((n for n in free if needed & _bound(codes[n]) and function not in _bound(codes[n])), None)
        if more is None:
            break
        chosen.add(more)
    whole = "\n".join(codes[n] for n in (*sorted(chosen - {main}), main))
    future = re.findall(r"(?m)^from __future__ import .*$", whole)
    return "\n".join([*future, re.sub(r"(?m)^from __future__ import .*$", "", whole)]) if future else whole


def _used(code: str) -> set[str]:
    tree = _tree(code)
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} if tree else set()


def _bound(code: str) -> set[str]:
    """Names that the code binds at its top level."""
    return {name for node in _top(code) for name in _names(node)}


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, DEFINITION):
        return [node.name]
    if isinstance(node, IMPORT):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


def _top(code: str) -> list[ast.stmt]:
    """The statements of the top level, those inside its conditions and loops too."""
    tree = _tree(code)
    waiting, found = list(tree.body) if tree else [], []
    while waiting:
        node = waiting.pop(0)
        found.append(node)
        if not isinstance(node, DEFINITION):
            for part in [node, *getattr(node, "handlers", [])]:
                for name in ("body", "orelse", "finalbody"):
                    waiting += getattr(part, name, [])
    return found


def _blocks(text: str) -> list[tuple[str, str]]:
    """Fenced blocks; a mark at the end of a line counts as one on a line of its own."""
    return fenced_blocks(LATE_MARK.sub(r"\1\n\2", text.replace("\r\n", "\n")))


@lru_cache(maxsize=64)
def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except NOT_PYTHON:
        return None


def _owner(code: str, function: str) -> str | None:
    """Where the code defines the function: "" at its top level, else the name of the last class that does, or None."""
    top = _top(code)
    if any(function in _names(node) and not _is_stub(node) for node in top):
        return ""
    for node in reversed(top):
        if isinstance(node, ast.ClassDef) and any(
            isinstance(inner, ast.FunctionDef) and inner.name == function for inner in node.body
        ):
            return node.name
    return None


def _is_stub(node: ast.stmt) -> bool:
    """Whether it is a signature without a body."""
    return isinstance(node, ast.FunctionDef) and all(
        isinstance(inner, ast.Pass) or (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
        for inner in node.body
    )


def _reachable(code: str, function: str) -> str:
    """A method becomes callable by its bare name; a signature that is said once more does not replace the function."""
    owner = _owner(code, function)
    if owner:
        return f"{code}\n{function} = {owner}().{function}\n"
    lines = code.split("\n")
    tree = _tree(code)
    for node in tree.body if tree else []:
        if _is_stub(node) and function in _names(node):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "\n".join(lines)


def _lines_of_code(text: str, function: str) -> str:
    """The first run of lines that is Python and defines the function; prose before, between and after is left out."""
    lines = text.split("\n")
    kept: list[str] = []
    at, cuts = 0, 0
    while at < len(lines) and cuts < MOST_CUTS:
        if not BEGINS.match(lines[at]):
            at += 1
            continue
        end = _parses_until(lines, at)
        cuts += 1
        if end > at:
            kept += lines[at:end]
            at = end
        else:
            at += 1
    code = "\n".join(kept) + "\n"
    return code if kept and _owner(code, function) is not None else ""


def _parses_until(lines: list[str], begin: int) -> int:
    """Where the longest run of lines from `begin` that is Python ends; `begin` if there is none."""
    end = len(lines)
    for _ in range(MOST_CUTS):
        if end <= begin:
            return begin
        try:
            tree = ast.parse("\n".join(lines[begin:end]))
        except SyntaxError as error:
            end = min(end - 1, begin + max(0, (error.lineno or 1) - 1))
            continue
        except NOT_PYTHON:
            return begin
        prose = [n for n in tree.body if isinstance(n, ast.Expr) and not isinstance(n.value, ast.Call | ast.Constant)]
        return begin + prose[0].lineno - 1 if prose else end  # a word on a line of its own parses as a name
    return begin
