"""The tools that ReAct ships with: a calculator, sandboxed Python, and search and lookup over documents in archival storage.

`search` and `lookup` are those of the paper (Yao et al. 2023, §3.1): open the page of a title, or learn what is near; then
find the next sentence in it that has a string.
"""

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Protocol

from langchain_core.tools import BaseTool, StructuredTool, create_schema_from_function
from langgraph.runtime import Runtime

from memory.archival import Archival
from memory.store import QdrantStore
from nodes.react.mcp import mcp_tools
from nodes.react.state import Context, Place, State
from nodes.replies import memory_of, settings_of
from sandbox.choose import shared_sandbox
from sandbox.guest import MODULE
from settings import Settings
from text import folded

FIRST_SENTENCES = 5
NEAR = 5
SENTENCE = re.compile(r"(?<=[.!?])\s+")


class ToolFailed(ValueError):
    """A call that could not be done; the message is for the model."""


@dataclass
class BuiltInTools:
    """The built-in tools at work in one step, on these documents and in this sandbox."""

    store: QdrantStore | None
    agent: str
    place: Place
    settings: Settings

    def named(self, names: Sequence[str]) -> list[BaseTool]:
        """The tools of these names."""
        made: dict[str, Callable[..., str]] = {
            "calculator": self.calculator, "python": self.python, "search": self.search, "lookup": self.lookup,
        }  # fmt: skip
        return [StructuredTool.from_function(made[name], name=name, args_schema=_arguments(name)) for name in names]

    def calculator(self, expression: Annotated[str, "An expression such as (3 + 4) * sqrt(2)"]) -> str:
        """Work out an arithmetic expression; the functions of Python's math module are there by name."""
        # In brackets and on a line of its own: a comment, a tuple or a line break does no harm there.
        call = f"str((\n{expression.strip().rstrip(';')}\n))"
        outcome = shared_sandbox(self.settings).run("from math import *", [call])
        answer = outcome.answers[0]
        if answer.error:
            raise ToolFailed(f"{answer.error}: {answer.message or outcome.feedback()}")
        return str(answer.value)

    def python(self, code: Annotated[str, "A program; print what you want to see"]) -> str:
        """Run a Python program without files or network; you get what it printed and the value of its last line."""
        body, last = split_last_expression(code)
        outcome = shared_sandbox(self.settings).run(as_main(body), [last] if last else [])
        outputs = [outcome.output.rstrip()] if outcome.output.strip() else []
        failed = outcome.error or outcome.feedback()
        if last and not failed:
            answer = outcome.answers[0]
            failed = f"{answer.error}: {answer.message}{answer.where}" if answer.error else ""
            if not answer.error and answer.value != "None":
                outputs.append(str(answer.value))
        if failed:
            raise ToolFailed("\n".join([*outputs, failed]))
        return "\n".join(outputs) or "(it printed nothing)"

    def search(self, entity: Annotated[str, "Title of the page"]) -> str:
        """Open the page with this title and read its beginning; without such a page, learn what is near."""
        archival = self._archival()
        if not entity.strip():
            raise ToolFailed("The title is empty.")
        title = self._title(archival, entity)
        if title:
            self.place = Place(title=title, string="", found=0)
            return " ".join(_sentences(archival.text(title))[:FIRST_SENTENCES])
        near = archival.search(entity, page_size=4 * NEAR).items
        titles = list(dict.fromkeys(str(i.value["source"]) for i in near if i.value.get("source")))[:NEAR]
        if not titles:
            return f"There is no page {entity!r}, and nothing is near: no documents are kept."
        lines = [f"- {i.value['source']}: {str(i.value['text'])[:200]}" for i in near[:NEAR] if i.value.get("source")]
        return "\n".join([f"There is no page {entity!r}. Near are: {', '.join(titles)}.", *lines])

    def lookup(self, string: Annotated[str, "Text to find in the page"]) -> str:
        """Find the next sentence with this text in the page that was opened last."""
        if not self.place["title"]:
            raise ToolFailed("No page is open: search a title first.")
        if not string.strip():
            raise ToolFailed("The text to look up is empty.")
        wanted = folded(string)
        hits = [s for s in _sentences(self._archival().text(self.place["title"])) if wanted in folded(s)]
        found = self.place["found"] if string == self.place["string"] else 0
        if not hits or found >= len(hits):
            return (
                f"No more results for {string!r} in {self.place['title']}."
                if hits
                else f"{string!r} is not in {self.place['title']}."
            )
        self.place = Place(title=self.place["title"], string=string, found=found + 1)
        return f"(Result {found + 1} of {len(hits)}) {hits[found]}"

    def _archival(self) -> Archival:
        if self.store is None:
            raise ToolFailed("There is no archival storage in this run.")
        return Archival(self.store, self.agent)

    def _title(self, archival: Archival, entity: str) -> str:
        """The document of that title, in upper or lower case; empty if there is none."""
        if archival.store.get((self.agent, "document"), entity):
            return entity
        near = archival.search(entity, page_size=4 * NEAR).items if archival.count() else []
        titles = (str(i.value.get("source", "")) for i in near)
        return next((t for t in titles if folded(t) == folded(entity.strip())), "")


def built_in_tools(state: State, runtime: Runtime[Context]) -> BuiltInTools:
    """The built-in tools at work in this step."""
    store = memory_of(runtime) if isinstance(runtime.store, QdrantStore) else None
    return BuiltInTools(store, runtime.context.agent, state["place"], settings_of(runtime))


class Attaches(Protocol):
    """A context that brings tools of its own."""

    more_tools: list[BaseTool]
    mcp: list[str]


def attached_tools(context: Attaches, settings: Settings) -> list[BaseTool]:
    """The caller's tools, and those of the MCP servers. Raises ServerUnreachable."""
    return [
        *context.more_tools,
        *(tool for address in context.mcp for tool in mcp_tools(address, settings.mcp_commands)),
    ]


def all_tools(built_in: BuiltInTools, runtime: Runtime[Context]) -> list[BaseTool]:
    """All tools of the run. Raises ServerUnreachable, and ValueError if two have one name."""
    tools = [*built_in.named(runtime.context.tools), *attached_tools(runtime.context, settings_of(runtime))]
    names = [tool.name for tool in tools]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"Two tools are called {twice[0]!r}: leave one out of Context.tools, more_tools or mcp.")
    return tools


@lru_cache
def _arguments(name: str) -> Any:
    """The schema of a built-in tool's arguments: it takes longer to make than most calls take."""
    return create_schema_from_function(name, getattr(BuiltInTools, name))


def as_main(code: str) -> str:
    """The program as the main one, with its own line numbers: models write `if __name__ == "__main__"` all the time."""
    modules = "__import__('sys').modules"
    return (
        f"__name__ = '__main__'\n{modules}['__main__'] = {modules}['{MODULE}']\n"
        f"exec(compile({code!r}, '<{MODULE}>', 'exec', dont_inherit=True))"
    )


def split_last_expression(code: str) -> tuple[str, str]:
    """The program without its last statement, and a call that shows that one's value, if it is an expression; a program that is
    no Python stays whole.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return code, ""
    if not tree.body or not isinstance(last := tree.body[-1], ast.Expr):
        return code, ""
    lines = code.encode().splitlines(keepends=True)  # positions are bytes of UTF-8
    before = b"".join(lines[: last.lineno - 1]) + lines[last.lineno - 1][: last.col_offset]
    statement = "\n" * (last.lineno - 1) + ast.unparse(last.value)
    return before.decode(), f"repr(eval(compile({statement!r}, '<{MODULE}>', 'eval')))"


def _sentences(text: str) -> list[str]:
    return [s.strip() for s in SENTENCE.split(" ".join(text.split())) if s.strip()]
