"""act: runs the calls of the last reply, in their order; what fails goes back to the model as a failed result."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from pydantic import ValidationError

from memory.archival import Archival
from memory.blocks import blocks_in_view
from memory.recall import Trust
from memory.server import MemoryUnreachable
from models.reply import Stopped
from nodes.memgpt.log import StepLog
from nodes.memgpt.meter import NOTHING, Solving, added_up, with_work
from nodes.memgpt.state import Context, Operation, State, TurnProgress, WakeReason
from nodes.memgpt.tools import HEARTBEAT, TOOLS, Chained, ToolArguments, ToolContext
from nodes.memgpt.trust import outside_in_view, outside_lines, trust_of_view
from nodes.memgpt.window import REPLY_SHARE, RESULT_SHARE, clip, clip_message, measure, room
from nodes.react.state import Context as ReactContext
from nodes.reflexion.state import Context as ReflexionContext
from nodes.replies import MALFORMED, is_private_run, memory_of, thread_of
from nodes.self_refine.state import Context as RefineContext

SMALLEST_ROOM = 0.2  # share of the window that the working context must leave to the queue
ERROR_LENGTH = 1_000  # characters

logger = logging.getLogger(__name__)


class Act(Protocol):
    """The node's signature."""

    def __call__(self, state: State, runtime: Runtime[Context]) -> State: ...


def act_with(solvers: dict[str, Any]) -> Act:
    """The node, with the compiled machines that `solve_carefully` runs, by method."""

    def act(state: State, runtime: Runtime[Context]) -> State:
        outside = outside_in_view(state)
        return run_step(
            state, runtime, lambda method, task: _solve(solvers[method], method, task, runtime.context, outside)
        )

    return act


def run_step(state: State, runtime: Runtime[Context], solve: Callable[[str, str], str]) -> State:
    """Every call gets exactly one result, whatever it was. Blocks change in the state only if their call succeeded."""
    context, store, begun = runtime.context, memory_of(runtime), time.monotonic()
    reply = state["messages"][-1]
    if not isinstance(reply, AIMessage):
        raise TypeError(f"act runs after a reply with calls, not after a {reply.type} message.")
    log, private, solving = StepLog(state, runtime), is_private_run(runtime), Solving(state, context)
    free = room(state, context)
    share = int(free * RESULT_SHARE) // len(reply.tool_calls)
    tools = ToolContext(
        store=store,
        agent=context.agent,
        blocks=blocks_in_view(store, context.agent, private),  # a person may have edited them meanwhile
        block_limit=context.block_limit,
        page_size=context.page_size,
        excerpt=max(40, share * 3 // context.page_size),
        time=log.now,
        trust=trust_of_view(state),
        fits=lambda blocks: _leaves_room(state, context, blocks),
        solve=solving.watched(solve),
        event=state["turn"]["event"],
        thread=thread_of(runtime),
        temporary=context.temporary,
        private=private,
        progress=lambda done, total: runtime.stream_writer({"embedded": done, "of": total}),
    )
    results: dict[str, str] = {}
    origins: dict[str, Trust] = {}
    sent: dict[str, str] = {}
    messages: list[AnyMessage] = [clip_message(reply, int(free * REPLY_SHARE))]
    failed = False
    for call in reply.tool_calls:
        number = str(call["id"])
        tools.key, tools.read_outside, replies = f"{reply.id}:{number}", False, len(tools.replies)
        status, answer = run_call(call, tools, TOOLS)
        failed |= status == "Failed"
        if len(tools.replies) > replies:
            sent[number] = tools.replies[-1]
        results[number] = answer
        origins[number] = "outside" if tools.read_outside else "own"
        messages.append(_result(call, str(reply.id), status, clip(answer, share), log.now, origins[number]))

    work: Operation = {**NOTHING, "calls": len(results), "bytes": sum(len(text.encode()) for text in results.values())}
    meter, inside = state.get("meter", {}), solving.taken
    meter = with_work(meter, "tools", begun + inside["milliseconds"] / 1_000, work)
    if inside["calls"]:
        meter["solving"] = added_up([meter.get("solving", NOTHING), inside])
    archival = Archival(store, context.agent).count()
    log.add_calls(reply, results, origins, sent, tools.trust)
    log.write()
    turn, stop = _next(state, context, reply.tool_calls, failed, answered=bool(state["replies"] or tools.replies))
    return {
        "messages": messages,
        "queue_ids": [*state["queue_ids"], *(str(m.id) for m in messages[1:])],
        "working_context": tools.blocks,
        "outside_lines": outside_lines(state, tools.blocks, tools.trust),
        "counters": {
            "recall": state["counters"]["recall"] + (0 if context.temporary else len(sent)),
            "archival": archival,
        },
        "replies": [*state["replies"], *tools.replies],
        "turn": turn,
        "meter": meter,
        **({"stop": "loop"} if stop else {}),
        **log.update(),
    }


def run_call(
    call: ToolCall, context: ToolContext, offered: Mapping[str, type[ToolArguments]]
) -> tuple[Literal["OK", "Failed"], str]:
    """How a call ended, and what to tell the model. No error of the model's making leaves this function."""
    name, arguments = call["name"], call["args"]
    if name not in offered:
        return "Failed", f"There is no tool {name[:60]!r}. The tools are: {', '.join(offered)}."
    if MALFORMED in arguments:
        return "Failed", f"The arguments of {name} were not a JSON object. Call it again with valid JSON."
    if not issubclass(offered[name], Chained):  # models say it of send_message too; then they mean it
        arguments = {k: v for k, v in arguments.items() if k != HEARTBEAT}
    try:
        return "OK", offered[name].model_validate(arguments).run(context)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors())
        return "Failed", f"Wrong arguments for {name}: {wrong}"[:ERROR_LENGTH]
    except (Stopped, GraphBubbleUp, MemoryUnreachable):
        raise
    except ValueError as error:
        return "Failed", str(error)[:ERROR_LENGTH]
    except Exception as error:  # an embedder, a solver: the agent can say so
        logger.exception("The tool %s failed.", name)
        return "Failed", f"{name} broke: {type(error).__name__}: {error}"[:ERROR_LENGTH]


def _solve(solver: Any, method: str, task: str, context: Context, outside: str) -> str:
    """What a machine made of the task, in words for the model."""
    shared = "agent model settings mcp more_tools tool_policy temporary".split()
    common: dict[str, Any] = {name: getattr(context, name) for name in shared} | {"outside": outside}
    if method == "react":
        done = solver.invoke({"task": task}, context=ReactContext(**common))
        return str(done["answer"]) or f"It found no answer ({done['stop']}). {done['error']}".strip()
    refines = method == "self_refine"
    done = solver.invoke(
        {"task": task}, context=RefineContext(**common) if refines else ReflexionContext(**common, attempt="react")
    )
    sure = "" if done["stop"] in ("accepted", "solved") else f" (Not sure: its critic gave {done['score']:.1f} of 1.)"
    return f"{done['answer'] or 'It found no answer.'}{sure}"


def _next(
    state: State, context: Context, calls: list[ToolCall], failed: bool, answered: bool
) -> tuple[TurnProgress, bool]:
    """How the turn goes on, and whether it is a loop: the same calls more than `max_repeats` times in a row."""
    turn = state["turn"]
    asked_for = json.dumps([(c["name"], {k: v for k, v in c["args"].items() if k != HEARTBEAT}) for c in calls])
    signature = hashlib.sha256(asked_for.encode()).hexdigest()
    repeats = turn["repeats"] + 1 if signature == turn["last_calls"] else 1
    asked = any(c["args"].get(HEARTBEAT) in (True, "true", "True") for c in calls)
    # A weak model forgets the heartbeat: without one, a person who has had no answer yet would wait for ever.
    forgotten = not answered and all(HEARTBEAT not in c["args"] for c in calls)
    wake: WakeReason = "failed" if failed else "heartbeat" if asked or forgotten else ""
    return {**turn, "wake": wake, "last_calls": signature, "repeats": repeats}, repeats > context.max_repeats


def _result(call: ToolCall, reply: str, status: str, answer: str, now: datetime, trust: Trust) -> ToolMessage:
    content = json.dumps({"status": status, "message": answer, "time": now.isoformat()}, ensure_ascii=False)
    return ToolMessage(
        content,
        name=call["name"],
        tool_call_id=str(call["id"]),
        id=f"{reply}:{call['id']}",
        status="success" if status == "OK" else "error",
        additional_kwargs={"trust": trust, "time": now.isoformat()},
    )


def _leaves_room(state: State, context: Context, blocks: dict[str, str]) -> bool:
    usage = measure({**state, "working_context": blocks, "messages": []}, context)
    return usage.window - usage.used >= SMALLEST_ROOM * usage.window
