"""What a turn takes, by what was done, and the caps that end it: tokens, calls of the model, seconds.

Tokens are the server's figures, or estimates where it gives none. What a machine inside `solve_carefully` takes counts as time.
"""

import json
import time
from collections.abc import Sequence
from typing import Literal

from langchain_core.messages import BaseMessage

from models.intake import Reply
from nodes.memgpt.state import Context, Operation, State
from nodes.memgpt.window import estimate

Cap = Literal["", "token_cap", "call_cap", "time_cap"]
NOTHING: Operation = {"calls": 0, "read": 0, "written": 0, "milliseconds": 0, "bytes": 0}
THOUGHTS = ("thinking", "summary", "note")
"""What calls the model."""


def with_thought(
    meter: dict[str, Operation], name: str, begun: float, prompt: Sequence[BaseMessage], reply: Reply | None,
    tools: int = 0,
) -> dict[str, Operation]:  # fmt: skip
    """The meter with a call of the model; `begun`: by time.monotonic(); `tools`: tokens of what it is told of its tools.

    Of a reply that failed only the prompt counts.
    """
    sent = "".join(message.text for message in prompt)
    read = (reply.input_tokens if reply else 0) or estimate(sent) + tools
    called = "".join(json.dumps(call["args"]) for call in reply.calls) if reply else ""
    written = (reply.output_tokens or estimate(reply.text + called)) if reply else 0
    return with_work(
        meter, name, begun, {**NOTHING, "calls": 1, "read": read, "written": written, "bytes": len(sent.encode())}
    )


def with_work(meter: dict[str, Operation], name: str, begun: float, more: Operation = NOTHING) -> dict[str, Operation]:
    """The meter with something that was done, and the time since `begun`."""
    before = meter.get(name, NOTHING)
    added: Operation = {
        "calls": before["calls"] + more["calls"], "read": before["read"] + more["read"],
        "written": before["written"] + more["written"], "bytes": before["bytes"] + more["bytes"],
        "milliseconds": before["milliseconds"] + round(1_000 * (time.monotonic() - begun)),
    }  # fmt: skip
    return {**meter, name: added}


def cap_met(state: State, context: Context, prompt_tokens: int = 0) -> Cap:
    """The cap that the turn has met, or would with a prompt of so many tokens; empty for none."""
    done = state.get("meter", {})
    thoughts = [done[name] for name in THOUGHTS if name in done]
    tokens = sum(each["read"] + each["written"] for each in thoughts)
    if context.max_tokens and tokens + prompt_tokens >= context.max_tokens:
        return "token_cap"
    if context.max_calls and sum(each["calls"] for each in thoughts) >= context.max_calls:
        return "call_cap"
    return "time_cap" if seconds_left(state, context) <= 0 else ""


def seconds_left(state: State, context: Context) -> float:
    """Of the turn's time; infinite without a cap."""
    if not context.max_seconds:
        return float("inf")
    return context.max_seconds - sum(each["milliseconds"] for each in state.get("meter", {}).values()) / 1_000
