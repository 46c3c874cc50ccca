"""receive: new events go into the queue and, word for word, into recall; a turn that a crash cut short is closed first."""

import json
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime

from memory.archival import Archival
from memory.blocks import load_blocks, save_block, save_thread
from memory.recall import Message, Recall
from nodes.memgpt.events import event_text, is_received, kind_and_author, stamp
from nodes.memgpt.log import Clock, call_records, memory_of, thread_of
from nodes.memgpt.state import BLOCKS, Context, State
from nodes.memgpt.window import EVENT_SHARE, blocks, clip, open_calls, room

PERSONA = (
    "I am a helpful companion with a long memory. I keep what matters to the person I talk with, and I look it up."
)
UNFINISHED = "The turn did not complete: it was stopped or broke off. This call may or may not have had its effect."


def receive(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Take in the new messages; refuse (stop `refused`, with `error`) what is empty or has anything but text."""
    context, store, thread = runtime.context, memory_of(runtime.store), thread_of(runtime)
    clock = Clock(state, context)
    recall = Recall(store, context.agent)
    queue = list(state.get("messages", []))
    fresh = [m for m in queue if not is_received(m)]

    try:
        texts = [event_text(m) for m in fresh]
        if not fresh:
            raise ValueError("There is no new message: send at least one.")
    except ValueError as error:
        return {
            "messages": [RemoveMessage(str(m.id)) for m in fresh],
            "stop": "refused",
            "error": str(error),
            "replies": [],
        }

    working_context = load_blocks(store, context.agent)
    if not working_context:
        working_context = {"persona": PERSONA, "human": ""}
        for block in BLOCKS:
            save_block(store, context.agent, block, working_context[block])
    if not state.get("sequence"):
        save_thread(store, context.agent, thread, " ".join(texts[0].split())[:60])

    records: list[Message] = []
    repaired = _close_open_calls(queue, clock, records, context, thread)
    share = int(room({**state, "working_context": working_context}, context) * EVENT_SHARE) // len(fresh)
    for message, text in zip(fresh, texts, strict=True):
        records.append(_event_record(message, text, clock, context, thread))
        message.content = clip(text, share)
    recall.write(records)

    return {
        # The reducer appends; only a repair puts results before what came after them, and needs the queue anew.
        "messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *repaired] if repaired else list(fresh),
        "working_context": working_context,
        "counters": {"recall": recall.count(), "archival": Archival(store, context.agent).count()},
        **clock.update(),
        "turn": {"event": str(fresh[-1].id), "due": "event", "steps": 0, "last_call": "", "repeats": 0},
        "replies": [],
        "stop": "",
        "error": "",
    }


def _event_record(message: BaseMessage, text: str, clock: Clock, context: Context, thread: str) -> Message:
    event = kind_and_author(message)
    is_user = event["kind"] == "user_message"
    author = (event["author"] or context.user) if is_user else "system"
    sequence = clock.tick()
    stamp(message, clock.now.isoformat(), sequence)
    return Message(
        key=str(message.id),
        role="user" if is_user else "alert",
        text=text,
        author=author,
        trust="own",
        time=clock.now,
        thread=thread,
        sequence=sequence,
        **(clock.said(author, text) if is_user else {"position": None}),
    )


def _close_open_calls(
    queue: list[AnyMessage], clock: Clock, records: list[Message], context: Context, thread: str
) -> list[AnyMessage]:
    """The queue with a result for every call, as providers demand; empty if none is open. Adds to `records`."""
    missing = {str(message.id): ids for message, ids in open_calls(queue)}
    if not missing:
        return []
    closed: list[AnyMessage] = []
    for block in blocks(queue):
        closed += block
        first = block[0]
        if not isinstance(first, AIMessage) or str(first.id) not in missing:
            continue
        results = dict.fromkeys(missing[str(first.id)], UNFINISHED)
        for call in results:
            content = json.dumps({"status": "Failed", "message": UNFINISHED, "time": clock.now.isoformat()})
            closed.append(ToolMessage(content, tool_call_id=call, status="error", id=f"{first.id}:{call}"))
        records += call_records(first, results, clock, context, thread)
    return closed
