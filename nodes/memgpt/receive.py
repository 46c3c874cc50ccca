"""receive: new events go into the queue and, word for word, into recall; a turn that a crash cut short is closed first."""

import json
import uuid
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime

from memory.archival import Archival
from memory.blocks import load_blocks, save_block, save_thread
from memory.recall import Message, Recall
from nodes.memgpt.events import event_text, kind_and_author, stamp
from nodes.memgpt.log import Clock, call_records
from nodes.memgpt.state import BLOCKS, Context, State
from nodes.memgpt.window import EVENT_SHARE, blocks, clip, open_calls, room
from nodes.replies import memory_of, thread_of

PERSONA = (
    "I am a helpful companion with a long memory. I keep what matters to the person I talk with, and I look it up."
)
OUTSIDE = {"trust": "outside"}  # what it quoted is not known any more
UNFINISHED = "The turn did not complete: it was stopped or broke off. This call may or may not have had its effect."


def receive(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Take in the new messages; refuse (stop `refused`, with `error`) what is empty or is no event."""
    context, store, thread = runtime.context, memory_of(runtime.store), thread_of(runtime)
    known = set(state.get("known", []))
    queue = [m for m in state.get("messages", []) if m.id in known]
    fresh = [m for m in state.get("messages", []) if m.id not in known]
    away = [RemoveMessage(str(m.id)) for m in fresh]
    try:
        check_owner(state, context)
        texts = [event_text(m) for m in fresh]
        if not fresh:
            raise ValueError("There is no new message: send at least one.")
    except ValueError as error:
        return {"messages": away, "stop": "refused", "error": str(error), "replies": []}

    clock, recall = Clock(state, context), Recall(store, context.agent)
    working_context = load_blocks(store, context.agent)
    if not working_context:
        working_context = {"persona": PERSONA, "human": ""}
        for block in BLOCKS:
            save_block(store, context.agent, block, working_context[block])
    save_thread(store, context.agent, thread, " ".join(texts[0].split())[:60])

    records: list[Message] = []
    repaired = _close_open_calls(queue, clock, records, recall, context, thread)
    share = int(room({**state, "working_context": working_context}, context) * EVENT_SHARE) // len(fresh)
    events = [_taken_in(m, thread, text, clock) for m, text in zip(fresh, texts, strict=True)]
    for message in events:
        records.append(_event_record(message, clock, context, thread))
        message.content = clip(str(message.content), share)
    recall.write(records)

    return {
        # The reducer appends; only a repair puts results before what came after them, and needs the queue anew.
        "messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *repaired, *events] if repaired else [*away, *events],
        "known": [str(m.id) for m in [*(repaired or queue), *events]],
        "agent": context.agent,
        "working_context": working_context,
        "counters": {"recall": recall.count(), "archival": Archival(store, context.agent).count()},
        **clock.update(),
        "turn": {"event": str(events[-1].id), "due": "event", "steps": 0, "last_call": "", "repeats": 0},
        "replies": [],
        "stop": "",
        "error": "",
    }


def check_owner(state: State, context: Context) -> None:
    """Raise ValueError if the conversation is another agent's: its queue and summary are not to be seen."""
    if state.get("agent", context.agent) != context.agent:
        raise ValueError(f"This conversation belongs to another agent, not to {context.agent}: begin a new one.")


def _taken_in(message: AnyMessage, thread: str, text: str, clock: Clock) -> AnyMessage:
    """The event with an id of our own: a caller's may be that of another message, which it would replace in recall.

    The same id with the same text is the same event: it came again after a crash, or was sent twice.
    """
    number = uuid.uuid5(uuid.NAMESPACE_OID, f"{thread}:{message.id}:{text}")
    taken = message.model_copy(update={"id": str(number), "content": text})
    stamp(taken, clock.now.isoformat(), clock.tick())
    return taken


def _event_record(message: AnyMessage, clock: Clock, context: Context, thread: str) -> Message:
    event, text = kind_and_author(message), str(message.content)
    is_user = event["kind"] == "user_message"
    author = (event["author"] or context.user) if is_user else "system"
    return Message(
        key=str(message.id),
        role="user" if is_user else "alert",
        text=text,
        author=author,
        trust="own",
        time=clock.now,
        thread=thread,
        sequence=event["sequence"],
        **(clock.said(author, text) if is_user else {"position": None}),
    )


def _close_open_calls(
    queue: list[AnyMessage], clock: Clock, records: list[Message], recall: Recall, context: Context, thread: str
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
        results = {}
        for call in missing[str(first.id)]:
            # What is on record has been done: the crash came between that and the checkpoint.
            done = recall.read(f"{first.id}:{call}:result")
            said = recall.read(f"{first.id}:{call}:call")
            if said and said["position"] is not None:
                clock.said(said["author"], said["text"])
            results[call] = UNFINISHED if done is None else str(done["text"])
            status = "Failed" if done is None else "OK"
            content = json.dumps({"status": status, "message": results[call], "time": clock.now.isoformat()})
            closed.append(ToolMessage(content, tool_call_id=call, id=f"{first.id}:{call}", additional_kwargs=OUTSIDE))
        fresh = call_records(first, results, clock, context, thread)
        records += [r for r in fresh if recall.read(r.key) is None]
    return closed
