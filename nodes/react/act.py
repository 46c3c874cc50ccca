"""act: runs the calls of the last thought side by side; whatever comes of them goes back as observations."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Sequence
from typing import Literal

from langchain_core.messages import AnyMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.runtime import Runtime
from pydantic import ValidationError

from nodes.react.mcp import ServerUnreachable, in_thread
from nodes.react.permit import NARROWED, Judge, call_key, last_reply, log_in_memory, with_decisions
from nodes.react.state import Context, State, Stop
from nodes.react.tools import ToolFailed, all_tools, built_in_tools
from nodes.replies import MALFORMED, check_reach
from sandbox.outcome import SandboxFailed
from text import clean_text

MOST_FAILURES = 3  # steps in a row in which every call failed
ERROR_CHARACTERS = 1_000
IN_ORDER = ("search", "lookup")
"""Calls that work on one page: of several at once, the later sees what the earlier did."""
OWN = ("calculator", "python")
"""Tools whose results are made of the model's own words; what all others return is text from outside."""
logger = logging.getLogger(__name__)

TIMED_OUT = "It was given up: the run's time was over before it answered."


def act(state: State, runtime: Runtime[Context]) -> State:
    """Every call gets one observation. Ends the run as a loop, for time, or after failures in a row."""
    context, begun = runtime.context, time.monotonic()
    reply = last_reply(state)
    check_reach(runtime)  # a conversation may have become private while a question waited
    if "decisions" not in state:  # nothing has been permitted
        raise ValueError("This run was begun by another version of Palimpsest: begin a new one.")
    built_in = built_in_tools(state, runtime)
    left = context.max_seconds - state["seconds"]
    judge = Judge.of(state, runtime)
    decided = judge.narrowed(state, reply)
    log_in_memory([each for each in decided if each["rule"] == NARROWED], runtime)
    refused = judge.refusals(decided)
    made = [call for call in reply.tool_calls if call_key(reply, call) not in refused]
    tools = all_tools(built_in, runtime)
    owned = {*OWN} & {*context.tools}
    ours = [call for call in made if call["name"] in context.tools]
    # Ours first: where the sandbox fails, the step is repeated, and then nothing with side effects has been called.
    came = run_calls(ours, tools, left)
    others = [call for call in made if call not in ours]
    came += run_calls(others, tools, left - (time.monotonic() - begun))
    by_key = {call_key(reply, call): result for call, result in zip([*ours, *others], came, strict=True)}
    results = [by_key.get(key) or (False, refused[key]) for key in (call_key(reply, call) for call in reply.tool_calls)]
    observations: list[AnyMessage] = [
        ToolMessage(
            clip(text, context.observation_characters),
            name=call["name"],
            tool_call_id=str(call["id"]),
            id=f"{reply.id}:{call['id']}",
            status="success" if succeeded else "error",
        )
        for call, (succeeded, text) in zip(reply.tool_calls, results, strict=True)
    ]
    # The same call may go on where it left off, as `lookup` does: only with the same results is it a loop.
    asked = json.dumps([[(c["name"], c["args"]) for c in reply.tool_calls], results], sort_keys=True, default=str)
    signature = hashlib.sha256(asked.encode()).hexdigest()
    repeats = state["repeats"] + 1 if signature == state["last_calls"] else 1
    failures = 0 if any(succeeded for succeeded, _ in results) else state["failures"] + 1
    seconds = state["seconds"] + time.monotonic() - begun
    stop = _stop(repeats, failures, seconds, context)
    return {
        "messages": observations, "seconds": seconds, "place": built_in.place, "stop": stop,
        "decisions": with_decisions(state, decided), "last_calls": signature, "repeats": repeats, "failures": failures,
        "outside": state["outside"] or next((call["name"] for call in made if call["name"] not in owned), ""),
        "error": results[-1][1][:ERROR_CHARACTERS] if stop == "error" else "",
    }  # fmt: skip


def after_act(state: State) -> Literal["think", "__end__"]:
    """On with the next thought, unless there was a reason to stop."""
    return "__end__" if state["stop"] else "think"


def run_calls(calls: Sequence[ToolCall], tools: Sequence[BaseTool], seconds: float) -> list[tuple[bool, str]]:
    """(whether it succeeded, what to tell the model) for each call, in at most `seconds` in all.

    A tool that hangs is left behind in its thread: Python cannot end it.
    """
    named = {tool.name: tool for tool in tools}
    results: list[tuple[bool, str]] = [(False, TIMED_OUT)] * len(calls)
    raised: list[BaseException] = []

    def run(numbers: list[int]) -> None:
        for number in numbers:
            try:
                results[number] = run_call(calls[number], named)
            except SandboxFailed as error:  # a fault of the machine: the step can be resumed
                raised.append(error)
            except BaseException as error:  # a tool that exits ends its thread, not the run
                logger.exception("The tool %s ended its thread.", calls[number]["name"])
                results[number] = False, _broke(calls[number]["name"], error)

    in_order = [n for n, call in enumerate(calls) if call["name"] in IN_ORDER]
    groups = [in_order, *([n] for n in range(len(calls)) if n not in in_order)]
    threads = [threading.Thread(target=run, args=(group,), daemon=True) for group in groups if group]
    deadline = time.monotonic() + max(0.0, seconds)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if raised:
        raise raised[0]
    return list(results)


def run_call(call: ToolCall, tools: dict[str, BaseTool]) -> tuple[bool, str]:
    """Run one call. No error of the model's or the tool's making leaves this function."""
    name, arguments = call["name"], call["args"]
    if MALFORMED in arguments:
        return False, f"The arguments of {name} were not a JSON object. Call it again with valid JSON."
    tool = tools[name]
    try:
        only_async = getattr(tool, "func", tool) is None
        result = in_thread(tool.ainvoke(arguments)) if only_async else tool.invoke(arguments)
        return True, clean_text(_text(result)) or "(it returned nothing)"
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors())
        return False, f"Wrong arguments for {name}: {wrong}"[:ERROR_CHARACTERS]
    except (ToolFailed, ServerUnreachable) as error:
        return False, str(error)[:ERROR_CHARACTERS]
    except SandboxFailed:
        raise
    except Exception as error:  # any tool of anybody's: the model can try something else
        logger.exception("The tool %s failed.", name)
        return False, _broke(name, error)


def _broke(name: str, error: BaseException) -> str:
    return f"{name} broke: {type(error).__name__}: {error}"[:ERROR_CHARACTERS]


def clip(text: str, most: int) -> str:
    """The beginning and the end of a text that is too long, and how long it was."""
    if len(text) <= most:
        return text
    head = most * 3 // 4
    return f"{text[:head]}\n… ({len(text)} characters in all) …\n{text[-(most - head) :]}"


def _text(result: object) -> str:
    """A tool's result as text: strings as they are, MCP's content blocks by their texts, all else as JSON."""
    if isinstance(result, str):
        return result
    if isinstance(result, list) and result and all(isinstance(b, dict) and "type" in b for b in result):
        return "\n".join(str(b.get("text", f"({b['type']})")) for b in result)
    return json.dumps(result, ensure_ascii=False, default=str)


def _stop(repeats: int, failures: int, seconds: float, context: Context) -> Stop:
    if repeats > context.max_repeats:
        return "loop"
    if seconds >= context.max_seconds:
        return "time_limit"
    return "error" if failures >= MOST_FAILURES else ""
