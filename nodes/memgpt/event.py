"""Events (MemGPT §2.4): what makes the agent think, each with its kind and time, and how it reads them.

In the prompt an event is JSON in a user-role message, as in the original: what a person types is quoted in it, so that no
text can pose as an alert; and no message but the first has the system role, which many local chat templates refuse.
"""

import json
import uuid
from datetime import datetime
from typing import Any, Literal, get_args

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, SystemMessage

from text import clean_text

SystemKind = Literal["system_alert", "login", "timed_event", "memory_pressure"]
SYSTEM_KINDS: tuple[SystemKind, ...] = get_args(SystemKind)


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


def memory_pressure(text: str, time: str, sequence: int, step: str) -> SystemMessage:
    """The warning before the queue is flushed; made by `page`, never by a caller. `step` makes its id."""
    message = _system("memory_pressure", text)
    stamp(message, time, sequence)
    message.id = str(uuid.uuid5(uuid.NAMESPACE_OID, step))
    return message


def _system(kind: SystemKind, text: str) -> SystemMessage:
    return SystemMessage(text, additional_kwargs={"event": {"kind": kind}})


def stamp(message: BaseMessage, time: str, sequence: int) -> None:
    """Mark an event as received. Nothing that came with it stays but its kind and author."""
    event = kind_and_author(message)
    message.additional_kwargs = {"event": {**event, "time": time, "sequence": sequence}}


def kind_and_author(message: BaseMessage) -> dict[str, Any]:
    """The event's kind and author, with the defaults of a bare chat message."""
    event = message.additional_kwargs.get("event", {})
    allowed = ("user_message",) if isinstance(message, HumanMessage) else SYSTEM_KINDS
    kind = event.get("kind") if event.get("kind") in allowed else allowed[0]
    kept = {name: event[name] for name in ("time", "sequence") if name in event}
    return {"kind": kind, "author": str(event.get("author") or message.name or ""), **kept}


def event_text(message: BaseMessage) -> str:
    """The text of a new event, cleaned. Raises ValueError if it is no event, is empty, or has anything but text."""
    if message.type not in ("human", "system"):
        raise ValueError(
            f"A message of type {message.type!r} cannot be sent to the agent: send a user or a system message."
        )
    if message.additional_kwargs.get("event", {}).get("kind") == "memory_pressure":
        raise ValueError("A memory_pressure alert is made by the agent's own window: send a system_alert.")
    content = message.content
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


def render_event(message: AnyMessage) -> HumanMessage:
    """An event as the model reads it."""
    event = kind_and_author(message)
    shown = {"type": event["kind"], "message": message.content, "time": event.get("time", "")}
    if event["kind"] == "user_message" and event["author"]:
        shown["name"] = event["author"]
    return HumanMessage(json.dumps(shown, ensure_ascii=False), id=message.id)
