"""The program in the text of an answer: out of fences of any tag, or out of the prose around it."""

import ast
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

    The last fenced block that defines it counts, after those blocks before it that only define what it may need; without
    fences, the lines that are Python. Text that defines it nowhere comes back as `program_in` has it.
    """
    codes = [code for _, code in _blocks(text)]
    having = [n for n, code in enumerate(codes) if _tree(code) and _owner(code, function) is not None]
    if having:
        last = having[-1]
        before = [code for code in codes[:last] if _only_defines(code)]
        return _reachable("\n".join([*before, codes[last]]), function)
    for code in [*codes, textwrap.dedent(text.replace("\r\n", "\n"))]:
        found = _lines_of_code(code, function)
        if found:
            return _reachable(found, function)
    return program_in(text)


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
    tree = _tree(code)
    if tree is None:
        return None
    owner = None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            return ""
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == function for t in node.targets):
            return ""
        if isinstance(node, ast.ClassDef) and any(
            isinstance(inner, ast.FunctionDef) and inner.name == function for inner in node.body
        ):
            owner = node.name
    return owner


def _only_defines(code: str) -> bool:
    tree = _tree(code)
    return tree is not None and all(isinstance(node, STATEMENTS) for node in tree.body)


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
