"""A step of another machine that the ReAct machine works out, with its tools."""

from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig

from models.transcript import transcript
from nodes.react.act import clip
from nodes.react.state import Context, ReactOptions

LONGEST = 6_000  # characters of a trajectory
ENDED = {
    "step_limit": "It ran out of steps before it had an answer.",
    "time_limit": "It ran out of time before it had an answer.",
    "loop": "It made the same calls over and over.",
}


@dataclass(frozen=True)
class Solved:
    """What came of it."""

    answer: str
    error: str
    """Why there is no answer."""
    trajectory: str
    """Thoughts, calls and observations, as text; it quotes what tools returned."""
    outside: str = ""
    """The tool, or what else, by which text from outside came into it; empty for none."""


def solve(
    solver: Any, task: str, context: ReactOptions, seconds: float, instructions: str, outside: str = ""
) -> Solved:
    """Have the compiled ReAct machine solve the task, in at most `seconds`. Raises ModelFailed and Stopped.

    `outside`: what of the task is from outside; empty for what is said in the context.
    """
    shared = "agent model settings tools mcp more_tools tool_policy temporary max_steps".split()
    inner = Context(
        **{name: getattr(context, name) for name in shared},
        outside=outside or context.outside,
        max_seconds=max(1.0, seconds),
        instructions=instructions,
    )
    done = solver.invoke({"task": task}, RunnableConfig(recursion_limit=inner.supersteps), context=inner)
    answered = done["stop"] == "answered"
    return Solved(
        answer=str(done["answer"]) if answered else "",
        error="" if answered else ENDED.get(done["stop"], f"It failed: {done.get('error', '')}"),
        trajectory=clip(transcript(done["messages"][1:]), LONGEST),
        outside=done["outside"],
    )
