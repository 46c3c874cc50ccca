"""The program in the text of an answer: out of fences of any tag, or out of the prose around it."""

import ast
import builtins
import html
import re
import textwrap
from functools import lru_cache

FENCE = re.compile(
    r"^[ \t]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<tag>[\w+#.-]*)[^\n]*\n(?P<code>.*?)(?:^[ \t]*(?P=mark)[`~]*[ \t]*$|\Z)",
    re.S | re.M,
)
LATE_MARK = re.compile(r"^(.*[^\s`])[ \t]*(`{3,}[\w+#.-]*)[ \t]*$", re.M)
DEFINES = re.compile(r"^(?:async def|def|class) ", re.M)
BEGINS = re.compile(r"(?:import|from|def|class|async def)\s|@\w|[A-Za-z_]\w*(?:\s*:[^=]+)?\s*=[^=]")
"""How a line of code at the margin begins."""
MOST_CUTS = 60  # of one piece of prose with code in it
NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python's parser raises for text that is no program, however odd."""
STATEMENTS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
)


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
    text = text.replace("\r\n", "\n").replace("\u00a0", " ")
    codes = [code for _, code in _blocks(text)]
    having = [n for n, code in enumerate(codes) if _owner(code, function) is not None]
    if having:
        return _reachable(_joined(codes, having[-1], function), function)
    unquoted = re.sub(r"(?m)^[ \t]*>[ ]?", "", text)
    inline = re.findall(r"`{1,3}(?:python|py)?\s*((?:def|import|from|class) [^`]+)`{1,3}", text)
    marked = [html.unescape(code) for code in re.findall(r"<code[^>]*>(.*?)</code>", text, re.S | re.I)]
    for code in [*codes, textwrap.dedent(text), *inline, *marked]:
        if _owner(code, function) is not None:
            return _reachable(code, function)
    if unquoted != text:
        return program_for(unquoted, function)
    for code in [*codes, textwrap.dedent(text)]:
        found = _lines_of_code(code, function)
        if found:
            return _reachable(found, function)
    return program_in(text)


def only_definitions(program: str) -> str:
    """The program without the statements of its top level that do something: calls, loops, prints."""
    tree = _tree(program)
    if tree is None:
        return program
    return ast.unparse(ast.Module([node for node in tree.body if isinstance(node, STATEMENTS)], []))


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
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
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
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for part in [node, *getattr(node, "handlers", [])]:
                for name in ("body", "orelse", "finalbody"):
                    waiting += getattr(part, name, [])
    return found


def _blocks(text: str) -> list[tuple[str, str]]:
    """Tag and code of each fenced block; a mark at the end of a line counts as one on a line of its own."""
    found = FENCE.finditer(LATE_MARK.sub(r"\1\n\2", text.replace("\r\n", "\n")))
    return [(m["tag"].lower(), textwrap.dedent(m["code"])) for m in found]


@lru_cache(maxsize=64)
def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except NOT_PYTHON:
        return None


def _owner(code: str, function: str) -> str | None:
    """Where the code defines the function: "" at its top level, a class's name, or None."""
    if function in _bound(code):
        return ""
    for node in _top(code):
        if isinstance(node, ast.ClassDef) and any(
            isinstance(inner, ast.FunctionDef) and inner.name == function for inner in node.body
        ):
            return node.name
    return None


def _reachable(code: str, function: str) -> str:
    """A method becomes callable by its bare name."""
    owner = _owner(code, function)
    return f"{code}\n{function} = {owner}().{function}\n" if owner else code


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
