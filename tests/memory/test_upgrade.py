"""A memory of an earlier layout: found as ever, and in other scripts too, after it was opened once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models

from memory.edge import EdgeClient
from memory.points import INDEXES, KEYWORD, Memory, point_of
from memory.store import QdrantStore
from memory.upgrade import GONE
from tests.conftest import WordEmbedder

SPACE = ("ada", "message")
TEXTS = {
    "en": "Green tea is warm",
    "zh": "我的猫叫拜伦",
    "nfd": "re\u0301sume\u0301",
    "es": "El tren llega a las nueve",
    "system": "",
}
WORDS = {
    "en": {"terms": "Green tea is warm"},
    "zh": {"words": "我 的 猫 叫 拜 伦 我的 的猫 猫叫 叫拜 拜伦", "language": "unspaced"},
    "nfd": {"words": "résumé", "language": "ru"},
    "es": {"words": "el tren lleg a las nuev", "language": "es"},
    "system": {},
}


def first_layout(key: str, payload: dict[str, Any]) -> dict[str, Any]:
    kept = {name: payload[name] for name in payload if name not in ("normalised", "lexical", "tags")}
    kept["scopes"] = ["ada", "ada.message"]
    texts = {"folded": TEXTS[key].casefold(), "terms": TEXTS[key]} if TEXTS[key] else {}
    return {**kept, **texts, "path": "ada.message", "flags": ["value.said=True"]}


def second_layout(key: str, payload: dict[str, Any]) -> dict[str, Any]:
    kept = {name: payload[name] for name in payload if name not in ("lexical", "tags")}
    more = {"scopes": ["ada", "ada.message"], "path": "ada.message", "flags": ["value.said=True"], "pending": "words"}
    return {**kept, **WORDS[key], **more}


def third_layout(key: str, payload: dict[str, Any]) -> dict[str, Any]:
    words = dict(WORDS[key])
    scopes = ["ada", "ada.message", *([f"..{words.pop('language')}"] if "language" in words else [])]
    tags = ["value.role=user", "value.said=True", *(["pending=words"] if "passage" in payload else [])]
    return {**{name: payload[name] for name in payload if name != "lexical"}, **words, "scopes": scopes, "tags": tags}


LAYOUTS: dict[Callable[[str, dict[str, Any]], dict[str, Any]], list[str]] = {
    first_layout: ["value.text", "path", "scopes", "value.role", "terms"],
    second_layout: ["path", "scopes", "language", "pending", "value.role", "terms", "words"],
    third_layout: ["scopes", "terms", "words"],
}
TIMES = ("time", "sequence", "created_at", "updated_at")


def write(folder: Path, layout: Callable[[str, dict[str, Any]], dict[str, Any]], indexes: list[str]) -> None:
    client = EdgeClient(folder)
    for field in indexes:
        client.create_payload_index("", field_name=field, field_schema=KEYWORD)
    for number, (key, text) in enumerate(TEXTS.items()):
        value = {"text": text, "role": "user", "said": True}
        point = point_of(SPACE, Memory(key, value, terms=text, passage=text), number)
        payload = layout(key, point.payload or {})
        client.upsert("", [models.PointStruct(id=point.id, vector={}, payload=payload)])
    client.close()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_it_is_brought_up_to_date_once_and_loses_nothing(
    tmp_path: Path, layout: Callable[[str, dict[str, Any]], dict[str, Any]]
) -> None:
    write(tmp_path, layout, LAYOUTS[layout])
    for _ in range(2):
        with QdrantStore(EdgeClient(tmp_path), WordEmbedder()) as store:
            assert store.client.indexed_fields() == set(INDEXES)
            assert store.list_namespaces() == [SPACE]
            assert store.find(SPACE, "Green").total == 1
            assert store.find(SPACE, "RÉSUMÉ", case_sensitive=False).total == 1
            assert store.find(SPACE, where={"role": ["user"], "said": True}).total == len(TEXTS)
            assert store.count(SPACE, {"said": False}) == 0
            assert store.rank(SPACE, "猫").items[0].key == "zh"
            assert store.rank(SPACE, "warm teas").items[0].key == "en"
            assert store.rank(SPACE, "trenes").items[0].key == "es"
            records, _ = store.client.scroll("", limit=10)
            assert not any(set(GONE) & record.payload.keys() for record in records)
            for record in records:
                text = record.payload["value"]["text"]
                fresh = Memory(record.payload["key"], record.payload["value"], terms=text, passage=text)
                wanted = point_of(SPACE, fresh, 0).payload or {}
                assert {k: v for k, v in record.payload.items() if k not in TIMES} == {
                    k: v for k, v in wanted.items() if k not in TIMES
                }
            assert store.embed_pending(SPACE) == 0, (
                "all were embedded by the first search, and one has nothing to embed"
            )
