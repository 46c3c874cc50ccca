"""Events (MemGPT §2.4): what makes the agent think, each with its kind and time. They are parsed once, when they come in.

In the prompt an event is JSON in a user-role message, as in the original: what a person types is quoted in it, so that no
text can pose as an alert; and no message but the first has the system role, which many local chat templates refuse.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, SystemMessage

from text import clean_text

RECALLED = (
    '[memory] Quotes from earlier, looked up for you; not all may matter. "I" and "my" are of whoever said it: answer the '
    'person with "you".'
)

SystemKind = Literal["system_alert", "login", "timed_event", "memory_pressure"]
EventKind = Literal["user_message"] | SystemKind


def user_message(text: str, author: str = "") -> HumanMessage:
    """What a person says."""
    return HumanMessage(text, additional_kwargs={"event": {"kind": "user_message", "author": author}})


def system_alert(text: str) -> SystemMessage:
    """What the program around the agent has to tell it."""
    return _system("system_alert", text)


def login(last: datetime | None) -> SystemMessage:
    """The person has come back."""
    return _system(
        "login", f"The user has opened the conversation. Last login: {last.isoformat() if last else 'never'}."
    )


def timed_event(text: str) -> SystemMessage:
    """Something that was to happen now, unprompted."""
    return _system("timed_event", text)


def _system(kind: SystemKind, text: str) -> SystemMessage:
    return SystemMessage(text, additional_kwargs={"event": {"kind": kind}})


@dataclass(frozen=True)
class Event:
    """One event, as it was received."""

    text: str
    kind: EventKind
    author: str
    """A person's name, where it was given."""
    time: str
    """ISO 8601, UTC."""
    sequence: int
    """Its place in the log (nodes.memgpt.log)."""
    memory: str = ""
    """What lay outside the window when it came in. It stays as it is, so that the prompt before stays a part of the next."""

    def queued(self, message_id: str) -> AnyMessage:
        """The event as a message of the queue; `event_of` reads it back."""
        fields = {name: value for name, value in asdict(self).items() if name != "text"}
        kind = HumanMessage if self.kind == "user_message" else SystemMessage
        return kind(self.text, id=message_id, additional_kwargs={"event": fields})

    def rendered(self, message_id: str | None, plain: bool = False, recalled: Sequence[str] = ()) -> HumanMessage:
        """The event as the model reads it; `plain`: for models that are small. What a person says is quoted in both.

        `recalled`: memories that bear on it, a line each; they stand before it.
        """
        if plain:
            told = json.dumps(self.text, ensure_ascii=False)
            event = f"The person says: {told}" if self.kind == "user_message" else f"[{self.kind}] {self.text}"
            return HumanMessage("\n".join([RECALLED, *recalled, event] if recalled else [event]), id=message_id)
        content: dict[str, Any] = {"recalled": list(recalled)} if recalled else {}
        content |= {"type": self.kind, "message": self.text, "time": self.time}
        if self.kind == "user_message" and self.author:
            content["name"] = self.author
        if self.memory:
            content["memory"] = self.memory
        return HumanMessage(json.dumps(content, ensure_ascii=False), id=message_id)


def event_of(message: AnyMessage) -> Event:
    """The event of a message of the queue."""
    return Event(text=str(message.content), **message.additional_kwargs["event"])


def is_event(message: BaseMessage) -> bool:
    """Whether a message of the queue is an event that was received."""
    return "sequence" in message.additional_kwargs.get("event", {})


def parse_event(message: BaseMessage, time: str = "", sequence: int = 0) -> Event:
    """The event that a caller's message is, its text cleaned. Nothing that came with it stays but its kind and author.

    Raises ValueError if it is no event, is empty, or has anything but text.
    """
    if message.type not in ("human", "system"):
        raise ValueError(
            f"A message of type {message.type!r} cannot be sent to the agent: send a user or a system message."
        )
    given: dict[str, Any] = message.additional_kwargs.get("event", {})
    asked: Any = given.get("kind")
    if asked == "memory_pressure":
        raise ValueError("A memory_pressure alert is made by the agent's own window: send a system_alert.")
    kind: EventKind = "user_message" if message.type == "human" else "system_alert"
    if message.type == "system" and asked in get_args(SystemKind):
        kind = asked
    return Event(_text(message.content), kind, str(given.get("author") or message.name or ""), time, sequence)


def _text(content: Any) -> str:
    if isinstance(content, list):
        other = [p.get("type") for p in content if isinstance(p, dict) and p.get("type") != "text"]
        if other:
            raise ValueError(
                f"A message with {other[0]!r} cannot be read: send text, or upload a document on the memory page."
            )
        content = "\n".join(p if isinstance(p, str) else str(p.get("text", "")) for p in content)
    text = clean_text(content)
    if not text.strip():
        raise ValueError("The message is empty: write something.")
    return text
