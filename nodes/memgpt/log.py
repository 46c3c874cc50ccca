"""How messages are written to recall: their order, their time, and what of an assistant message is a record of its own."""

import json
from datetime import datetime
from typing import Any

from langchain_core.messages import AIMessage

from memory.recall import PREVIOUS, Message, Trust
from nodes.memgpt.state import Context, State

PAUSE = 6 * 3600 * 1_000_000  # microseconds of silence after which talk is no continuation of what was said before


class Clock:
    """Time and order of what happens in a step.

    `sequence` is a hybrid logical clock: microseconds of the event's time, raised where needed to stay above the one
    before, so that a clock set back never reorders a conversation.
    """

    def __init__(self, state: State, context: Context) -> None:
        self.now: datetime = context.time()
        self.sequence = state.get("sequence", 0)
        self.position = state.get("position", 0)
        self.previous = state.get("previous", "")
        if self.previous and int(self.now.timestamp() * 1_000_000) - self.sequence > PAUSE:
            self.previous = ""
            self.position += 1  # so that the two are no neighbours

    def tick(self) -> int:
        """The next sequence number."""
        self.sequence = max(self.sequence + 1, int(self.now.timestamp() * 1_000_000))
        return self.sequence

    def said(self, author: str, text: str) -> dict[str, Any]:
        """Position and context of something said aloud."""
        fields = {"position": self.position, "previous": self.previous}
        self.position += 1
        self.previous = f"{author}: {text}"[:PREVIOUS]
        return fields

    def update(self) -> State:
        """The state's new clock."""
        return {"sequence": self.sequence, "position": self.position, "previous": self.previous}


def monologue_record(text: str, key: str, clock: Clock, context: Context, thread: str) -> Message:
    """The agent's private thought."""
    return Message(key, "monologue", text, context.agent, "own", clock.now, thread, clock.tick(), None)


def call_records(
    message: AIMessage,
    results: dict[str, str],
    clock: Clock,
    context: Context,
    thread: str,
    trust: dict[str, Trust] | None = None,
    sent: dict[str, str] | None = None,
    sent_trust: Trust = "own",
) -> list[Message]:
    """An assistant message with calls, as records: its thought, then each call with its result.

    `results` has the result's text by call id. `sent` has what a send_message sent: that is on record as said, not as a call.
    """
    records = []
    if text := message.text.strip():
        records.append(monologue_record(text, f"{message.id}:text", clock, context, thread))
    for call in message.tool_calls:
        key = f"{message.id}:{call['id']}"
        if sent and call["id"] in sent:
            said = sent[str(call["id"])]
            sequence = clock.tick()
            placed = clock.said(context.agent, said)
            records.append(
                Message(
                    f"{key}:call", "assistant", said, context.agent, sent_trust, clock.now, thread, sequence, **placed
                )
            )
        else:
            asked = f"{call['name']}({json.dumps(call['args'], ensure_ascii=False)})"
            records.append(
                Message(f"{key}:call", "tool_call", asked, context.agent, "own", clock.now, thread, clock.tick(), None)
            )
        if call["id"] in results:
            outcome, origin = results[str(call["id"])], (trust or {}).get(str(call["id"]), "own")
            records.append(
                Message(
                    f"{key}:result", "tool_result", outcome, call["name"], origin, clock.now, thread, clock.tick(), None
                )
            )
    return records
