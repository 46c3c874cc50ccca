"""The prompt as every server takes it, whatever rules its chat template has for the order of roles.

One system message, first; then person and assistant in turn, the person first, and no person right after a tool's result; ids of
calls of nine letters and digits (Mistral's rule). The same messages always give the same text, so that what was sent before stays
the beginning of what is sent next.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

Wire = dict[str, Any]
"""A message as the endpoint's API has it."""
GONE = "(What was said before has left the window.)"
"""In the person's place, where a prompt would begin with the assistant."""
NOTED = "(noted)"
"""In the assistant's place, between a tool's result and what the person says next."""
NOTHING = "…"
"""In place of a message without text, which several servers refuse."""


def to_wire(messages: Sequence[BaseMessage], fold_system: bool = False) -> list[Wire]:
    """The messages for the endpoint; `fold_system`: for templates without a system role, its text stands in the person's first."""
    system = [_content(m) for m in messages if m.type == "system"]
    wire: list[Wire] = []
    for message in messages:
        if message.type == "system":
            continue
        rendered = _rendered(message)
        last = wire[-1]["role"] if wire else "system"
        if rendered["role"] == "user":
            if last == "user":
                wire[-1]["content"] = _joined(wire[-1]["content"], rendered["content"])
                continue
            if last == "tool":
                wire.append({"role": "assistant", "content": NOTED})
        elif rendered["role"] == "assistant":
            if last == "system":
                wire.append({"role": "user", "content": GONE})
            elif last == "assistant" and "tool_calls" not in wire[-1]:
                before = wire.pop()
                rendered["content"] = _joined(before["content"], rendered["content"] or "").strip()
        wire.append(rendered)
    if not wire:
        wire = [{"role": "user", "content": NOTHING}]
    text = "\n\n".join(part for part in map(str, system) if part)
    if fold_system:
        wire[0]["content"] = _joined(text, wire[0]["content"])
        return wire
    return [{"role": "system", "content": text}, *wire] if text else wire


def _rendered(message: BaseMessage) -> Wire:
    if isinstance(message, ToolMessage):
        return {
            "role": "tool", "tool_call_id": short_id(message.tool_call_id), "name": message.name or "tool",
            "content": message.text or NOTHING,
        }  # fmt: skip
    if isinstance(message, AIMessage):
        if not message.tool_calls:
            return {"role": "assistant", "content": message.text or NOTHING}
        calls = [
            {
                "id": short_id(str(call["id"])), "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["args"], ensure_ascii=False)},
            }
            for call in message.tool_calls
        ]  # fmt: skip
        return {"role": "assistant", "content": message.text or None, "tool_calls": calls}
    return {"role": "user", "content": _content(message) or NOTHING}


def short_id(call: str) -> str:
    """The call's id in nine letters and digits."""
    return hashlib.sha256(call.encode(errors="replace")).hexdigest()[:9]


def _content(message: BaseMessage) -> Any:
    """Text, or the parts of a message with pictures."""
    parts = message.content
    has_pictures = isinstance(parts, list) and any(isinstance(p, dict) and p.get("type") != "text" for p in parts)
    return parts if has_pictures else message.text


def _joined(first: Any, then: Any) -> Any:
    """Two contents as one."""
    if isinstance(first, str) and isinstance(then, str):
        return "\n\n".join(part for part in (first, then) if part)
    parts = [[{"type": "text", "text": c}] if isinstance(c, str) else list(c) for c in (first, then) if c]
    return [part for content in parts for part in content]
