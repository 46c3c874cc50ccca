"""A run's messages as lines of text, for a person or a model to read."""

import json
from collections.abc import Iterable

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage


def transcript(messages: Iterable[BaseMessage], most: int = 2_000) -> str:
    """Thoughts, calls and results, one after another; each is cut after `most` characters.

    >>> print(transcript([AIMessage("I look it up.", tool_calls=[{"name": "search", "args": {"entity": "Olm"}, "id": "1"}])]))
    Thought: I look it up.
    Call: search({"entity": "Olm"})
    """
    lines: list[str] = []
    for message in messages:
        text = message.text.strip()
        if isinstance(message, ToolMessage):
            lines.append(f"Result of {message.name}: {_cut(text, most)}")
        elif isinstance(message, AIMessage):
            lines += [f"Thought: {_cut(text, most)}"] if text else []
            lines += [
                f"Call: {c['name']}({_cut(json.dumps(c['args'], ensure_ascii=False), most)})"
                for c in message.tool_calls
            ]
        else:
            lines.append(f"Told: {_cut(text, most)}")
    return "\n".join(lines)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
