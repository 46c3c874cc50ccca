"""How messages become recall records: order, time, and how one assistant message splits into records."""

import json
from datetime import datetime

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime

from memory.recall import PREVIOUS, Message, Recall, Role, Trust
from nodes.memgpt.state import Clock, Context, State
from nodes.replies import memory_of, thread_of

PAUSE = 6 * 3600 * 1_000_000  # microseconds of silence after which talk is no continuation of what was said before
DELIVERED = ":delivered"
"""How the key of a record ends whose text the agent did not send; before it is the id of the message that has the text."""
NEW_CLOCK: Clock = {"sequence": 0, "position": 0, "previous": ""}


class LogClock:
    """Gives each record of a conversation its place.

    Sequence numbers are a hybrid logical clock: microseconds of the record's time, raised where needed to stay above the one
    before, so that a clock set back never reorders a conversation.
    """

    def __init__(self, clock: Clock, thread: str) -> None:
        self.clock: Clock = {**NEW_CLOCK, **clock}
        self.thread = thread

    def move_to(self, now: datetime) -> None:
        """Go on to a later time; after a long pause, what is said next is no neighbour of what was said last."""
        self.now = now
        if self.clock["previous"] and self._microseconds() - self.clock["sequence"] > PAUSE:
            self.clock["previous"] = ""
            self.clock["position"] += 1

    def next_sequence(self) -> int:
        """The next sequence number."""
        self.clock["sequence"] = max(self.clock["sequence"] + 1, self._microseconds())
        return self.clock["sequence"]

    def record(self, key: str, role: Role, text: str, author: str, trust: Trust, sequence: int) -> Message:
        """A record; what a person or the agent says has a place among what was said."""
        position, previous = None, ""
        if role in ("user", "assistant"):
            position, previous = self.clock["position"], self.clock["previous"]
            self.note_said(author, text)
        return Message(key, role, text, author, trust, self.now, self.thread, sequence, position, previous)

    def note_said(self, author: str, text: str) -> None:
        """Move on for something said aloud."""
        self.clock["position"] += 1
        self.clock["previous"] = f"{author}: {text}"[:PREVIOUS]

    def _microseconds(self) -> int:
        return int(self.now.timestamp() * 1_000_000)


class StepLog:
    """What one step writes to recall, in its order. `write` writes it, and `update` is the state's new clock."""

    def __init__(self, state: State, runtime: Runtime[Context]) -> None:
        self.now = runtime.context.time()
        self.recall = Recall(memory_of(runtime), runtime.context.agent)
        self.messages: list[Message] = []
        self._agent = runtime.context.agent
        self._temporary = runtime.context.temporary
        self._clock = LogClock(state.get("clock", NEW_CLOCK), thread_of(runtime))
        self._clock.move_to(self.now)

    def next_sequence(self) -> int:
        """The next sequence number."""
        return self._clock.next_sequence()

    def add(
        self, key: str, role: Role, text: str, author: str, trust: Trust = "own", sequence: int | None = None
    ) -> Message:
        """Add a record."""
        sequence = self.next_sequence() if sequence is None else sequence
        record = self._clock.record(key, role, text, author, trust, sequence)
        self.messages.append(record)
        return record

    def note_said(self, author: str, text: str) -> None:
        """Move the clock on for something said aloud, which may be on record already."""
        self._clock.note_said(author, text)

    def add_monologue(self, message: AIMessage, trust: Trust) -> None:
        """The agent's private thought."""
        self.add(f"{message.id}:text", "monologue", message.text, self._agent, trust)

    def add_calls(
        self, message: AIMessage, results: dict[str, str], trust: dict[str, Trust], sent: dict[str, str],
        sent_trust: Trust = "own",
    ) -> None:  # fmt: skip
        """An assistant message with calls: its thought, then each call with its result.

        `results` has the result's text by call id. `sent` has what a send_message sent: that is on record as said, not as
        a call.
        """
        if message.text.strip():
            self.add_monologue(message, sent_trust)
        for call in message.tool_calls:
            number = str(call["id"])
            key = f"{message.id}:{number}"
            if number in sent:
                self.add(f"{key}:call", "assistant", sent[number], self._agent, sent_trust)
            else:
                asked = f"{call['name']}({json.dumps(call['args'], ensure_ascii=False)})"
                self.add(f"{key}:call", "tool_call", asked, self._agent)
            if number in results:
                self.add(f"{key}:result", "tool_result", results[number], call["name"], trust.get(number, "own"))

    def write(self) -> None:
        """Write the records, but for those of a temporary chat; one that is there already stays as it is."""
        if not self._temporary:
            self.recall.write(self.messages)

    def update(self) -> State:
        """The state's new clock."""
        return {"clock": self._clock.clock}
