"""What a turn takes, by what was done, and the caps that end it: tokens, calls of the model, seconds.

Tokens are the server's figures, or estimates where it gives none. The calls of machines inside `solve_carefully` are counted too,
and the caps end these machines.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, cast

from langchain_core.messages import BaseMessage

from models.intake import Reply
from models.refusals import ModelFailed
from nodes.memgpt.state import Context, Operation, State
from nodes.memgpt.window import estimate
from nodes.replies import WATCHER

Cap = Literal["", "token_cap", "call_cap", "time_cap"]
NOTHING: Operation = {"calls": 0, "read": 0, "written": 0, "milliseconds": 0, "bytes": 0}
THOUGHTS = ("thinking", "summary", "note", "solving")
"""What calls the model."""
CAPS = {"token_cap": "tokens", "call_cap": "calls of the model", "time_cap": "seconds"}
Solve = Callable[[str, str], str]
"""Works out a task by a method."""


class CapMet(RuntimeError):
    """The turn has met a cap inside `solve_carefully`."""


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


class Solving:
    """Counts what the machines inside `solve_carefully` take in a step, and ends them at the turn's caps."""

    def __init__(self, state: State, context: Context) -> None:
        self._state, self._context = state, context
        self._begun = 0.0
        self.taken = NOTHING

    def watched(self, solve: Solve) -> Solve:
        """`solve`, counted; at a cap it says so in place of an answer."""

        def run(method: str, task: str) -> str:
            self._begun = time.monotonic()
            watching = WATCHER.set(self)
            try:
                return solve(method, task)
            except CapMet as met:
                return str(met)
            except ModelFailed:
                if seconds_left(self._state, self._context) * 1_000 > self._so_far()["milliseconds"]:
                    raise
                return f"It was stopped: the turn has met its cap of {CAPS['time_cap']}."
            finally:
                WATCHER.reset(watching)
                self.taken = self._so_far()

        return run

    def seconds_for(self, prompt: Sequence[BaseMessage]) -> float:
        """How long the next call may take. Raises CapMet if there is to be none."""
        meter = self._state.get("meter", {})
        solving = added_up([meter.get("solving", NOTHING), self._so_far()])
        state: State = {**self._state, "meter": {**meter, "solving": solving}}
        if cap := cap_met(state, self._context, sum(estimate(message.text) for message in prompt)):
            raise CapMet(f"It was stopped: the turn has met its cap of {CAPS[cap]}.")
        return seconds_left(state, self._context)

    def note(self, prompt: Sequence[BaseMessage], reply: Reply | None) -> None:
        """Count a call."""
        one = with_thought({}, "call", time.monotonic(), prompt, reply)["call"]
        self.taken = added_up([self.taken, one])

    def _so_far(self) -> Operation:
        return {
            **self.taken,
            "milliseconds": self.taken["milliseconds"] + round(1_000 * (time.monotonic() - self._begun)),
        }


def added_up(parts: Iterable[Operation]) -> Operation:
    """Several as one."""
    kept = list(parts)
    return cast(Operation, {name: sum(part[name] for part in kept) for name in NOTHING})  # type: ignore[literal-required]


def seconds_left(state: State, context: Context) -> float:
    """Of the turn's time; infinite without a cap."""
    if not context.max_seconds:
        return float("inf")
    return context.max_seconds - sum(each["milliseconds"] for each in state.get("meter", {}).values()) / 1_000
