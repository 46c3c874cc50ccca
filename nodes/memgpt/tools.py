"""The nine tools of the MemGPT agent: what each takes, what it does, and what it answers. Errors are raised for `act`.

Departures from the paper: (1) `solve_carefully`, which runs another machine, stands beside its eight.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.store.base import SearchItem
from pydantic import BaseModel, ConfigDict, Field, field_validator

from memory.archival import Archival
from memory.blocks import PRIVATE, load_blocks, save_block
from memory.pending import Progress
from memory.recall import Recall, Trust
from memory.result_page import ResultPage
from memory.store import QdrantStore
from nodes.memgpt.state import BLOCKS
from text import clean_text, find_folded

HEARTBEAT = "request_heartbeat"


@dataclass
class ToolContext:
    """What the tools of one step work on. `blocks` are changed in place; the rest is kept in Qdrant."""

    store: QdrantStore
    agent: str
    blocks: dict[str, str]
    block_limit: int
    page_size: int
    excerpt: int
    """Most characters of a result on a page; the page says where it was cut."""
    time: datetime
    trust: Trust
    """`outside` while text from outside is in view: what is written then carries that mark."""
    fits: Callable[[dict[str, str]], bool]
    """Whether the window still has room with these blocks."""
    solve: Callable[[str, str], str]
    """Works out a task by a method, on the machines of that name."""
    event: str = ""
    """Key of the message that is being answered: what is kept was kept from it."""
    thread: str = ""
    """The conversation, or the branch of it."""
    temporary: bool = False
    """Whether nothing may be written."""
    private: bool = False
    """Whether the conversation is private: then the blocks have lines that only such ones see."""
    key: str = ""
    """Of the call under way: the same after a crash, so that what it inserts is inserted once."""
    replies: list[str] = field(default_factory=list)
    """What was sent to the person."""
    read_outside: bool = False
    """Whether a result quoted text from outside."""
    progress: Progress | None = None
    """Told while a search embeds what was not searched before."""

    def check_writable(self) -> None:
        """Raise ValueError in a temporary chat."""
        if self.temporary:
            raise ValueError("This chat is temporary: it reads your memory and keeps nothing. Answer without writing.")

    def edit(self, block: str, text: str) -> None:
        """Write a block whole. Raises ValueError when it is too long, or nothing may be written; then nothing is."""
        self.check_writable()
        if len(text) > self.block_limit:
            raise ValueError(
                f"Block {block} would have {len(text)} characters, but its limit is {self.block_limit}. Nothing was written: "
                "condense it with working_context_replace, or keep the text with archival_memory_insert."
            )
        edited = {**self.blocks, block: text}
        if not self.fits(edited):
            raise ValueError(
                f"The window has no room for a block {block} of {len(text)} characters. Nothing was written: shorten it."
            )
        name, kept = (PRIVATE + block, self._private_lines(block, text)) if self.private else (block, text)
        save_block(self.store, self.agent, name, kept, self.thread, self.event, self.trust)
        self.blocks[block] = text

    def _private_lines(self, block: str, text: str) -> str:
        """What is behind the lines that all conversations see. Raises ValueError if those are changed."""
        shared = load_blocks(self.store, self.agent).get(block, "")
        if text != shared and not text.startswith(f"{shared}\n" if shared else ""):
            raise ValueError(
                f"This conversation is private, and that would change lines of {block} that others see. Nothing was changed: add "
                "a line instead."
            )
        return text[len(shared) :].removeprefix("\n")


class ToolArguments(BaseModel):
    """Arguments of a tool; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")

    def run(self, context: ToolContext) -> str:
        """Do it, and say what came of it. Raises ValueError for arguments that cannot work."""
        raise NotImplementedError


class Chained(ToolArguments):
    """Every tool but send_message says whether the agent goes on thinking."""

    request_heartbeat: bool = Field(False, description="true: give control back to you at once; false: rest")


class SendMessage(ToolArguments):
    """Send a message to the person. It is the only thing the person sees."""

    message: str = Field(description="What to say")

    def run(self, context: ToolContext) -> str:
        if not self.message.strip():
            raise ValueError("The message is empty: nothing was sent.")
        context.replies.append(clean_text(self.message))
        return "Sent."


def _known(block: str) -> str:
    if block not in BLOCKS:
        raise ValueError(f"There is no block {block[:40]!r}. The blocks are: {', '.join(BLOCKS)}.")
    return block


class WorkingContextAppend(Chained):
    """Add a line at the end of a block of your working context."""

    block: str = Field(description="persona or human")
    content: str = Field(description="The line to add")

    def run(self, context: ToolContext) -> str:
        name, content = _known(self.block), clean_text(self.content).strip()
        if not content:
            raise ValueError("The content is empty: nothing was written.")
        if f"\n{context.blocks.get(name, '')}".endswith(f"\n{content}"):
            return f"It is already the end of {name}."  # said twice, or a step repeated after a crash
        context.edit(name, "\n".join(part for part in (context.blocks.get(name, ""), content) if part))
        return f"Added to {name}."


class WorkingContextReplace(Chained):
    """Replace a passage of a block of your working context; empty new_content deletes it."""

    block: str = Field(description="persona or human")
    old_content: str = Field(description="The passage as it stands, exactly; it must occur once")
    new_content: str = Field(description="What to put in its place")

    def run(self, context: ToolContext) -> str:
        name = _known(self.block)
        text = context.blocks.get(name, "")
        if not self.old_content:
            raise ValueError(
                "old_content is empty: name the passage to replace. To add text, use working_context_append."
            )
        found = text.count(self.old_content)
        if found != 1:
            many = "does not occur" if not found else f"occurs {found} times; quote more of it, so that it occurs once"
            raise ValueError(f"old_content {many} in block {name}. Nothing was changed.")
        context.edit(name, text.replace(self.old_content, clean_text(self.new_content)))
        return f"Replaced in {name}."


class Paged(Chained):
    """A search whose results come in pages."""

    page: int = Field(0, description="Page of the results, from 0")

    @field_validator("page", mode="before")
    @classmethod
    def _first_page(cls, value: Any) -> Any:
        return 0 if value in (None, "", "none", "None") else value


class RecallMemorySearch(Paged):
    """Find past messages that contain a piece of text exactly as written (case-sensitive), oldest first."""

    case_sensitive: ClassVar = True

    query: str = Field(description="The piece of text")

    def run(self, context: ToolContext) -> str:
        recall = Recall(context.store, context.agent)
        page = recall.search(self.query, self.page, context.page_size, case_sensitive=self.case_sensitive)
        return _show(page, context, self.query)


class RecallMemorySearchIgnoreCase(RecallMemorySearch):
    """Find past messages that contain a piece of text, in upper or lower case, oldest first."""

    case_sensitive = False


class RecallMemorySearchDate(Paged):
    """Find past messages by day (UTC), both days included, oldest first."""

    start_date: str = Field(description="YYYY-MM-DD")
    end_date: str = Field(description="YYYY-MM-DD")

    def run(self, context: ToolContext) -> str:
        page = Recall(context.store, context.agent).search_dates(
            self.start_date, self.end_date, self.page, context.page_size
        )
        return _show(page, context)


class ArchivalMemoryInsert(Chained):
    """Keep a text in archival storage. Write it so that it can be understood on its own."""

    content: str = Field(description="What to keep")

    def run(self, context: ToolContext) -> str:
        context.check_writable()
        archival = Archival(context.store, context.agent)
        content = clean_text(self.content)
        count = archival.insert(
            content, key=context.key, time=context.time, trust=context.trust, said=context.event, thread=context.thread
        )
        if not count:
            return "That is kept already, in other words or the same."
        return f"Kept, as {count} passage{'s' if count > 1 else ''}."


class ArchivalMemorySearch(Paged):
    """Find passages in archival storage, documents among them, by words and meaning; the nearest first."""

    query: str = Field(description="What the passage is about")

    def run(self, context: ToolContext) -> str:
        archival = Archival(context.store, context.agent)
        page = archival.search(self.query, self.page, context.page_size, progress=context.progress)
        return _show(page, context, self.query)


class SolveCarefully(Chained):
    """Work out a hard task with many thoughts: it takes long. You get the answer, and tell the person."""

    task: str = Field(description="The task with all that it takes to solve it")
    method: Literal["react", "self_refine", "reflexion"] = Field(
        "reflexion", description="react: with tools; self_refine: drafts and criticism; reflexion: trials and lessons"
    )

    def run(self, context: ToolContext) -> str:
        if not self.task.strip():
            raise ValueError("The task is empty: say what is to be solved.")
        if self.method == "reflexion":  # which keeps lessons
            context.check_writable()
        context.read_outside = True  # its tools read documents
        return context.solve(self.method, self.task)


TOOLS: dict[str, type[ToolArguments]] = {
    "send_message": SendMessage,
    "working_context_append": WorkingContextAppend,
    "working_context_replace": WorkingContextReplace,
    "recall_memory_search": RecallMemorySearch,
    "recall_memory_search_ignore_case": RecallMemorySearchIgnoreCase,
    "recall_memory_search_date": RecallMemorySearchDate,
    "archival_memory_insert": ArchivalMemoryInsert,
    "archival_memory_search": ArchivalMemorySearch,
    "solve_carefully": SolveCarefully,
}


def _schema(name: str, arguments: type[ToolArguments]) -> dict[str, Any]:
    tool = convert_to_openai_tool(arguments)
    tool["function"]["name"] = name
    parameters = tool["function"]["parameters"]
    if HEARTBEAT in parameters["properties"]:  # last, and required: models forget what is optional
        heartbeat = parameters["properties"].pop(HEARTBEAT)
        heartbeat.pop("default", None)
        parameters["properties"][HEARTBEAT] = heartbeat
        parameters["required"] = [*parameters.get("required", []), HEARTBEAT]
    return tool


TOOL_SCHEMAS = [_schema(name, arguments) for name, arguments in TOOLS.items()]


def _show(page: ResultPage, context: ToolContext, query: str = "") -> str:
    """A page of results: its place among all, then a line each with time, author and an excerpt round the match."""
    if not page.total:
        return "No results found (0 matches)."
    first = page.page * context.page_size + 1
    lines = [
        f"Results {first} to {first + len(page.items) - 1} of {page.total} (page {page.page}, last page {page.pages - 1}):"
    ]
    for item in page.items:
        context.read_outside |= item.value.get("trust") == "outside"
        lines.append(f"- [{_origin(item)}] {_excerpt(str(item.value['text']), query, context.excerpt)}")
    return "\n".join(lines)


def _origin(item: SearchItem) -> str:
    value = item.value
    where = " · ".join(str(value[k]) for k in ("source", "position") if isinstance(value.get(k), str) and value[k])
    held = f", held until {str(value['until'])[:10]}" if value.get("until") else ""
    return f"{str(value['time'])[:16].replace('T', ' ')} {where or value['author']}{held}"


def _excerpt(text: str, query: str, most: int) -> str:
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    at = max(0, find_folded(text, " ".join(query.split()))) if query else 0
    start = min(max(0, at - most // 3), len(text) - most)
    end = start + most
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''} ({len(text)} characters)"
