"""How a memory lies in Qdrant: one point each, its payload, and the indexes over it."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import Item, SearchItem
from qdrant_client import models

from memory.conditions import IN, TAGGED, Namespace, field_path
from memory.words import ENGLISH, language_of, words_of
from text import folded, normalised

KEYWORD = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD)
WORDS = models.TextIndexParams(
    type=models.TextIndexType.TEXT,
    tokenizer=models.TokenizerType.WORD,
    lowercase=True,
    ascii_folding=True,
    stemmer=models.SnowballParams(type=models.Snowball.SNOWBALL, language=models.SnowballLanguage.ENGLISH),
    stopwords=models.Language.ENGLISH,
    scoring=True,
)
INDEXES: dict[str, models.PayloadSchemaParams] = {
    "agent": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "tags": KEYWORD,
    "normalised": KEYWORD,
    "folded": KEYWORD,
    "lexical": WORDS,
    "time": models.DatetimeIndexParams(type=models.DatetimeIndexType.DATETIME),
    "sequence": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True),
}
"""Few, because each one costs about 2 ms of every flush: what is only compared for equality shares `tags`."""
NOT_ENGLISH = "not english"
"""The tag of what is in another language; LANGUAGE begins the tag after it, which tells the language."""
LANGUAGE = "language="
WORDING = "wording"
"""The namespace under a passage's of what says one of them again."""
ASIDE = "@aside"
"""The label after the agent's of what belongs to a branch that is not active (memory.branches): no search looks there."""
NO_PASSAGE = "passage=none"
"""The tag of what no embedder has anything to read of: all else that has no vector has still to be embedded."""
COLLECTION = "palimpsest"
POINTS = uuid.UUID("6f1d3c52-64b5-4e0e-9f7e-6a1c41a9d0b7")  # namespace of the point ids
PASSAGE = 1_200  # characters; MiniLM reads 256 word pieces


@dataclass(frozen=True)
class Memory:
    """One memory to write."""

    key: str
    value: Mapping[str, Any]
    """What is kept; exact text search reads its "text"."""
    terms: str = ""
    """What BM25 ranks; empty: not found by ranked search."""
    passage: str = ""
    """What the embedder reads; empty: not embedded."""
    time: datetime | None = None
    """When it was said (UTC if without a zone); None: now."""
    sequence: int | None = None
    """Its place in the order of everything; None: after all that this store has written before."""


def point_id(namespace: Namespace, key: str) -> str:
    """The id of the point: the same memory always has the same one, also while it is put aside, and another agent's cannot be
    guessed from it.
    """
    return str(uuid.uuid5(POINTS, json.dumps([*(label for label in namespace if label != ASIDE), key])))


def point_of(namespace: Namespace, memory: Memory, sequence: int) -> models.PointStruct:
    """The point of a memory, without a vector yet."""
    now = datetime.now(UTC).isoformat()
    said = memory.time
    payload: dict[str, Any] = {
        "key": memory.key,
        "value": dict(memory.value),
        "time": now if said is None else (said if said.tzinfo else said.replace(tzinfo=UTC)).isoformat(),
        "sequence": sequence if memory.sequence is None else memory.sequence,
        "created_at": now,
        "updated_at": now,
    }
    payload |= searched_fields(namespace, memory.value, memory.terms, memory.passage)
    if memory.passage:
        payload["passage"] = memory.passage
    # Not validated: it is made of checked parts, and there is one for every message.
    return models.PointStruct.model_construct(id=point_id(namespace, memory.key), vector={}, payload=payload)


def moved(tags: Sequence[str], to: Namespace) -> list[str]:
    """The tags of a point that is put into another namespace."""
    return [*_scopes(to), *(tag for tag in tags if not tag.startswith(IN))]


def _scopes(namespace: Namespace) -> list[str]:
    return [IN + ".".join(namespace[: n + 1]) for n in range(len(namespace))]


def searched_fields(namespace: Namespace, value: Mapping[str, Any], terms: str, passage: str) -> dict[str, Any]:
    """The fields of a payload that searches read."""
    text = value.get("text")
    tags = _scopes(namespace) + _value_tags("value", value)
    if not passage:
        tags.append(NO_PASSAGE)
    fields: dict[str, Any] = {"agent": namespace[0], "tags": tags}
    if isinstance(text, str):
        fields |= {"normalised": normalised(text), "folded": folded(text)}
    if terms:
        language = language_of(text if isinstance(text, str) and text.strip() else terms)
        fields["lexical"] = words_of(terms, language)
        if language != ENGLISH:
            tags += [NOT_ENGLISH, LANGUAGE + language]
    return {name: content for name, content in fields.items() if content}


def text_of(value: Mapping[str, Any], fields: Sequence[str] | None) -> str:
    """The searchable text of a value put without one: the named fields, its "text", or all of it."""
    if fields is not None and list(fields) != ["$"]:
        parts: list[Any] = []
        for field in fields:
            part: Any = value
            for step in field.split("."):
                part = part.get(step) if isinstance(part, dict) else None
            if part is not None:
                parts.append(part)
        return "\n".join(p if isinstance(p, str) else json.dumps(p, ensure_ascii=False) for p in parts)
    text = value.get("text")
    return text if isinstance(text, str) else json.dumps(value, ensure_ascii=False)


def item_of(payload: dict[str, Any]) -> Item:
    """The memory of a payload, as LangGraph has it."""
    return Item(
        value=payload["value"],
        key=payload["key"],
        namespace=namespace_of(payload["tags"]),
        created_at=datetime.fromisoformat(payload["created_at"]),
        updated_at=datetime.fromisoformat(payload["updated_at"]),
    )


def match_of(payload: dict[str, Any], score: float | None = None) -> SearchItem:
    """The same, as the result of a search."""
    item = item_of(payload)
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)


def place_of(payload: dict[str, Any]) -> tuple[str, int] | None:
    """(thread, position) of something said aloud; None for all else."""
    value = payload.get("value", {})
    position = value.get("position")
    return (str(value.get("thread", "")), position) if isinstance(position, int) else None


def links_of(payload: dict[str, Any]) -> tuple[str, list[str]]:
    """The id of the passage that a wording says again, empty for anything else; and the ids of those whose place it takes."""
    value, passages = payload.get("value", {}), (str(payload.get("agent", "")), "passage")
    said_again = value.get("of")
    return point_id(passages, said_again) if said_again else "", [
        point_id(passages, k) for k in value.get("supersedes", [])
    ]


def namespace_of(tags: Sequence[str]) -> Namespace:
    """The namespace of a payload's tags."""
    innermost = next(tag for tag in reversed(tags) if tag.startswith(IN))
    return tuple(innermost.removeprefix(IN).split("."))


def _value_tags(path: str, value: Mapping[str, Any]) -> list[str]:
    """What filters compare for equality, as words: some fields, and true and false, by which Edge 0.9 finds no point."""
    tags = []
    for key, part in value.items():
        field = field_path(path, key)
        if isinstance(part, bool) or (isinstance(part, str) and field in TAGGED):
            tags.append(f"{field}={part}")
        elif isinstance(part, dict):
            tags += _value_tags(field, part)
    return tags
