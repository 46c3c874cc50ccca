"""Claude's export: `conversations.json`, and the memory that it kept of the person in `memories.json`."""

from collections.abc import Iterator
from typing import Any

from memory.exports.plain import notes_in
from memory.exports.records import Note, Record, Said, Talk, each, moment, path_to, text_in

ROLES = {"human": "user", "assistant": "assistant"}


def is_claude(data: Any) -> bool:
    """Whether this is one of its files."""
    parts = data if isinstance(data, list) else [data]
    return any(isinstance(part, dict) and ("chat_messages" in part or "conversations_memory" in part) for part in parts)


def read_claude(data: Any) -> Iterator[Record]:
    """Its conversations, or what it had kept."""
    return each(data if isinstance(data, list) else [data], "conversation", _records)


def _records(part: Any) -> Iterator[Record]:
    if "chat_messages" in part:
        yield _talk(part)
        return
    for text in (part.get("conversations_memory"), *(part.get("project_memories") or {}).values()):
        for line in notes_in(str(text or "")):
            yield Note(line, moment(part.get("updated_at")))


def _talk(conversation: Any) -> Talk:
    messages = [message for message in conversation["chat_messages"] if message]
    keys = [str(message.get("uuid") or number) for number, message in enumerate(messages)]
    by_key = dict(zip(keys, messages, strict=True))
    parents = {key: message.get("parent_message_uuid") for key, message in by_key.items()}
    told = [parent for parent in parents.values() if parent in by_key]
    if len(told) > len(set(told)):  # something was edited or answered anew
        keys = path_to(keys[-1], parents)
    said = [found for key in keys if (found := _said(key, by_key[key], conversation.get("created_at")))]
    return Talk(f"claude:{conversation.get('uuid')}", str(conversation.get("name") or ""), said)


def _said(key: str, message: Any, begun: Any) -> Said | None:
    role = ROLES.get(message.get("sender"))
    # Thoughts and calls of tools have no text of their own; where the parts have none, older exports have it beside them.
    parts = [part for part in message.get("content") or [] if isinstance(part, dict) and part.get("type") == "text"]
    text = text_in(parts) or text_in(message.get("text"))
    files = [*(message.get("attachments") or []), *(message.get("files") or [])]
    named = [
        f"[file: {name}]\n{file.get('extracted_content') or ''}".strip()
        for file in files
        if (name := file.get("file_name"))
    ]
    text = "\n".join(part for part in (text, *map(text_in, named)) if part.strip())
    if role is None or not text:
        return None
    return Said(
        key, "user" if role == "user" else "assistant", text, moment(message.get("created_at")) or moment(begun)
    )
