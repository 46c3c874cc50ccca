"""Where text from outside stands in what the model reads: what is made of it carries that mark, here and in other conversations."""

from collections.abc import Mapping

from memory.blocks import added_lines
from memory.recall import Trust
from nodes.memgpt.state import State

MARK = "trust"


def outside_in_view(state: State) -> str:
    """Where text from outside stands in the prompt of this state, or what was written after reading such; empty for nowhere."""
    marked = [m for m in state["messages"] if m.additional_kwargs.get(MARK) == "outside"]
    if message := next((m for m in marked if m.type == "tool"), None):
        return f"a result of {message.name}"
    if found := next((r for r in state.get("recalled", []) if r["trust"] == "outside"), None):
        return f"what was recalled of {found['source'] or found['author']}"
    if state.get("summary_trust") == "outside":
        return "the summary"
    if set(lines_of(state["working_context"])) & set(state.get("outside_lines", [])):
        return "the working context"
    return "an earlier answer, written after reading such" if marked else ""


def trust_of_view(state: State) -> Trust:
    """The trust of what a model writes that reads the prompt of this state: that of its lowest source."""
    return "outside" if outside_in_view(state) else "own"


def outside_lines(state: State, blocks: Mapping[str, str], trust: Trust) -> list[str]:
    """The lines of the working context that carry the mark, once it has become `blocks` by edits of this trust."""
    known, before = set(state.get("outside_lines", [])), state["working_context"]
    if trust == "outside":
        known |= {line for name, text in blocks.items() for line in added_lines(before.get(name, ""), text)}
    return [line for line in lines_of(blocks) if line in known]


def lines_of(blocks: Mapping[str, str]) -> list[str]:
    """The lines of all blocks."""
    return [line for text in blocks.values() for line in text.split("\n")]
