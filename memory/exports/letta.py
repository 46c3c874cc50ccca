"""Letta's agent file (`.af`), of both forms: the working context, the messages, and passages where there are any.

Letta writes the last 50 messages of an agent and no archival storage; what is not in the file cannot be read from it.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal, cast

from memory.exports.records import Block, Note, Record, Said, Talk, each, moment, text_in

BLOCKS = ("persona", "human")


def is_letta(data: Any) -> bool:
    """Whether this is such a file."""
    return isinstance(data, dict) and ("core_memory" in data or {"agents", "blocks"} <= data.keys())


def read_letta(data: Any) -> Iterator[Record]:
    """What its agents had."""
    shared = {block["id"]: block for block in data.get("blocks") or [] if "id" in block}
    agents = data.get("agents", [data])
    return each(agents, "agent", lambda agent: _records(agent, shared))


def _records(agent: Any, shared: dict[str, Any]) -> Iterator[Record]:
    blocks = agent.get("core_memory") or [shared[i] for i in agent.get("block_ids") or [] if i in shared]
    for block in blocks:
        label, text = str(block.get("label")), text_in(block.get("value"))
        if label in BLOCKS:
            yield Block(cast(Literal["persona", "human"], label), text)
        elif text.strip():
            yield Note(f"{label}: {text}")
    for passage in agent.get("passages") or agent.get("archival_memory") or []:
        if (text := text_in(passage.get("text"))).strip():
            yield Note(text, moment(passage.get("created_at")))
    said = [found for number, message in enumerate(agent.get("messages") or []) for found in _said(number, message)]
    if said:
        name = str(agent.get("name") or "Letta")
        yield Talk(f"letta:{agent.get('id') or name}", name, said)


def _said(number: int, message: Any) -> Iterator[Said]:
    """What was said in a message: its text is wrapped, and the agent speaks by a call."""
    role, time = message.get("role"), moment(message.get("created_at"))
    key = str(message.get("id") or number)
    text = text_in(message.get("content") or message.get("text"))
    if role == "user":
        event = _json(text)
        if event.get("type", "user_message") == "user_message" and (told := str(event.get("message", text))).strip():
            yield Said(key, "user", told, time)
    elif role == "assistant":
        calls = [call.get("function") or call for call in message.get("tool_calls") or []]
        sent = [_json(call.get("arguments")).get("message") for call in calls if call.get("name") == "send_message"]
        for place, spoken in enumerate(sent if calls else [text]):
            if isinstance(spoken, str) and spoken.strip():
                yield Said(f"{key}:{place}", "assistant", spoken, time)


def _json(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
