"""receive: new events go into the queue and, word for word, into recall; a turn that a crash cut short is closed first."""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime

from memory.archival import Archival
from memory.blocks import blocks_in_view, lines_from_outside, load_blocks, save_block, save_thread
from memory.recall import Recall
from memory.store import QdrantStore
from nodes.context import STATE_VERSION
from nodes.memgpt.event import Event, parse_event
from nodes.memgpt.log import StepLog
from nodes.memgpt.meter import NOTHING, with_work
from nodes.memgpt.migrate import migrate, unreceived
from nodes.memgpt.recalled import look_up
from nodes.memgpt.state import Context, Counters, State, TurnProgress
from nodes.memgpt.trust import lines_of
from nodes.memgpt.window import EVENT_SHARE, RESULT_SHARE, clip, exchanges, memory_line, open_calls, room
from nodes.react.tools import attached_tools
from nodes.replies import check_reach, is_private_run, memory_of, settings_of, thread_of

PERSONA = (
    "I am a helpful companion with a long memory. I keep what matters to the person I talk with, and I look it up."
)
OUTSIDE = {"trust": "outside"}  # what it quoted is not known any more
UNFINISHED = "The turn did not complete: it was stopped or broke off. This call may or may not have had its effect."


def receive(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Take in the new messages; refuse (stop `refused`, with `error`) what is empty or is no event."""
    context, store, thread = runtime.context, memory_of(runtime), thread_of(runtime)
    try:
        state = migrate(state, Recall(store, context.agent))
    except ValueError as error:
        return _refused(unreceived(state.get("messages", [])), error)
    queue_ids = set(state.get("queue_ids", []))
    queue = [m for m in state.get("messages", []) if m.id in queue_ids]
    new = [m for m in state.get("messages", []) if m.id not in queue_ids]
    log = StepLog(state, runtime)
    try:
        check_owner(state, context.agent)
        check_reach(runtime)
        parsed = [parse_event(m, log.now.isoformat()) for m in new]
        if not new:
            raise ValueError("There is no new message: send at least one.")
    except ValueError as error:
        return _refused(new, error)

    working_context = load_working_context(store, context.agent, is_private_run(runtime))
    from_outside = lines_from_outside(store, context.agent)
    outside_lines = [line for line in lines_of(working_context) if line in from_outside]
    if not context.temporary:
        _note_conversation(store, thread, parsed[0].text, "clock" not in state, context)

    free = room({**state, "working_context": working_context}, context)
    repaired = _close_open_calls(queue, log, int(free * RESULT_SHARE))
    counters: Counters = {"recall": log.recall.count(), "archival": Archival(store, context.agent).count()}
    events = _queued(new, parsed, log, thread, context.user, memory_line(counters), int(free * EVENT_SHARE))
    log.write()
    turn: TurnProgress = {
        "event": str(events[-1].id), "wake": "event", "steps": 0, "last_calls": "", "repeats": 0,
        "asked": any(event.kind == "user_message" for event in parsed), "reminded": False,
    }  # fmt: skip
    if not context.temporary:
        counters["recall"] += sum(event.kind == "user_message" for event in parsed)
    seen: State = {
        **state, "working_context": working_context, "outside_lines": outside_lines, "turn": turn, "counters": counters,
        "messages": [*(repaired or queue), *events],
    }  # fmt: skip

    begun = time.monotonic()
    recalled = look_up(seen, runtime)
    return {
        # The reducer appends; only a repair puts results before what came after them, and needs the queue anew.
        "messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *repaired, *events]
        if repaired
        else [*_discarded(new), *events],
        "queue_ids": [str(m.id) for m in [*(repaired or queue), *events]],
        "version": STATE_VERSION,
        "agent": context.agent,
        "working_context": working_context,
        "outside_lines": outside_lines,
        "solver_tools": [tool.name for tool in attached_tools(context, settings_of(runtime))],
        "counters": counters,
        **log.update(),
        "turn": turn,
        "recalled": recalled,
        "meter": with_work({}, "recall", begun, {**NOTHING, "bytes": sum(len(r["text"].encode()) for r in recalled)}),
        "replies": [],
        "tokens": {"read": 0, "cached": 0, "written": 0},
        "thoughts": [],
        "stop": "",
        "forgot": False,
        "error": "",
    }


def _queued(
    new: list[AnyMessage], parsed: list[Event], log: StepLog, thread: str, user: str, memory: str, tokens: int
) -> list[AnyMessage]:
    """The new events as they stand in the queue, in `tokens` together, and on record."""
    events: list[AnyMessage] = []
    for message, event in zip(new, parsed, strict=True):
        # An id of our own: a caller's may be that of another message, which it would replace. The same id with the same text
        # is the same event, which came again after a crash, or was sent twice.
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{thread}:{message.id}:{event.text}"))
        is_user = event.kind == "user_message"
        record = log.add(
            key, "user" if is_user else "alert", event.text, (event.author or user) if is_user else "system"
        )
        clipped = clip(event.text, tokens // len(new))
        events.append(replace(event, text=clipped, sequence=record.sequence, memory=memory).queued(key))
    return events


def _note_conversation(store: QdrantStore, thread: str, opening: str, begins: bool, context: Context) -> None:
    """Put the conversation on the agent's list, and the blocks in their place where they are still to be begun."""
    shared = load_working_context(store, context.agent)
    for block in shared.keys() - load_blocks(store, context.agent).keys():
        save_block(store, context.agent, block, shared[block])
    save_thread(store, context.agent, thread, " ".join(opening.split())[:60], begins, context.private)


def _refused(new: list[AnyMessage], error: ValueError) -> dict[str, Any]:
    return {"messages": _discarded(new), "stop": "refused", "error": str(error), "replies": []}


def _discarded(messages: list[AnyMessage]) -> list[RemoveMessage]:
    return [RemoveMessage(str(message.id)) for message in messages]


def load_working_context(store: QdrantStore, agent: str, private: bool = False) -> dict[str, str]:
    """The agent's blocks as a conversation sees them, each with its beginning where the agent has none yet."""
    return {"persona": PERSONA, "human": "", **blocks_in_view(store, agent, private)}


def check_owner(state: Mapping[str, Any], agent: str) -> None:
    """Raise ValueError if the thread is another agent's: what stands in it is not to be seen."""
    if state.get("agent", agent) != agent:
        raise ValueError(f"This conversation belongs to another agent, not to {agent}: begin a new one.")


def _close_open_calls(queue: list[AnyMessage], log: StepLog, tokens: int) -> list[AnyMessage]:
    """The queue with a result for every call, as providers demand; empty if none is open. The log gets what is missing there."""
    missing = {str(message.id): ids for message, ids in open_calls(queue)}
    if not missing:
        return []
    closed: list[AnyMessage] = []
    for exchange in exchanges(queue):
        closed += exchange
        first = exchange[0]
        if not isinstance(first, AIMessage) or str(first.id) not in missing:
            continue
        names = {str(call["id"]): call["name"] for call in first.tool_calls}
        share = tokens // len(missing[str(first.id)])
        results: dict[str, str] = {}
        for number in missing[str(first.id)]:
            # What is on record has been done: the crash came between that and the checkpoint.
            done = log.recall.read(f"{first.id}:{number}:result")
            said = log.recall.read(f"{first.id}:{number}:call")
            if said and said["position"] is not None:
                log.note_said(said["author"], said["text"])
            results[number] = UNFINISHED if done is None else str(done["text"])
            closed.append(
                _repaired_result(first, number, names[number], done is not None, clip(results[number], share), log)
            )
        log.add_calls(first, results, {}, {})
    return closed


def _repaired_result(first: AIMessage, number: str, name: str, done: bool, text: str, log: StepLog) -> ToolMessage:
    content = json.dumps({"status": "OK" if done else "Failed", "message": text, "time": log.now.isoformat()})
    return ToolMessage(content, name=name, tool_call_id=number, id=f"{first.id}:{number}", additional_kwargs=OUTSIDE)
