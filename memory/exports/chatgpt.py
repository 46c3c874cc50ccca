"""ChatGPT's export: `conversations.json`, each conversation a tree of messages of which one path is what the person last saw."""

from collections.abc import Iterator
from typing import Any

from memory.exports.records import Record, Said, Talk, each, moment, path_to, text_in

SPOKEN = ("text", "multimodal_text")
"""Kinds of content that were said; the others are thoughts, programs, results of tools, and settings."""


def is_chatgpt(data: Any) -> bool:
    """Whether this is such a file."""
    return isinstance(data, list) and any(isinstance(part, dict) and "mapping" in part for part in data)


def read_chatgpt(data: Any) -> Iterator[Record]:
    """Its conversations."""
    return each(data, "conversation", _talk)


def _talk(conversation: Any) -> Iterator[Talk]:
    nodes: dict[str, Any] = conversation["mapping"]
    parents = {key: node.get("parent") for key, node in nodes.items()}
    leaf = conversation.get("current_node")
    if leaf not in nodes:
        leaves = nodes.keys() - set(parents.values())
        leaf = max(leaves, key=lambda key: (_time(nodes[key]), key), default="")
    said = [found for key in path_to(leaf, parents) if (found := _said(key, nodes[key].get("message")))]
    begun = moment(conversation.get("create_time"))
    said = [found if found.time else Said(found.key, found.role, found.text, begun) for found in said]
    number = conversation.get("conversation_id") or conversation.get("id") or leaf
    yield Talk(f"chatgpt:{number}", str(conversation.get("title") or ""), said)


def _said(key: str, message: Any) -> Said | None:
    """A message as the person saw it; None for what they did not see."""
    if not message:
        return None
    about = message.get("metadata") or {}
    role, content = (message.get("author") or {}).get("role"), message.get("content") or {}
    is_hidden = about.get("is_visually_hidden_from_conversation") or message.get("recipient") not in (None, "all")
    if role not in ("user", "assistant") or is_hidden or content.get("content_type") not in SPOKEN:
        return None
    files = [f"[file: {file['name']}]" for file in about.get("attachments") or [] if file.get("name")]
    text = "\n".join(part for part in (text_in(content.get("parts")), *files) if part.strip())
    return Said(str(message.get("id") or key), role, text, moment(message.get("create_time"))) if text else None


def _time(node: Any) -> float:
    time = moment((node.get("message") or {}).get("create_time"))
    return time.timestamp() if time else 0.0
