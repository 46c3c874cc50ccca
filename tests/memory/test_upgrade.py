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
}


def first_layout(text: str, payload: dict[str, Any]) -> dict[str, Any]:
    kept = {name: payload[name] for name in payload if name not in ("normalised", "words", "tags")}
    flags = ["value.said=True"]
    return {**kept, "path": "ada.message", "folded": text.casefold(), "terms": text, "passage": text, "flags": flags}


def second_layout(text: str, payload: dict[str, Any]) -> dict[str, Any]:
    languages = [scope.removeprefix("..") for scope in payload["scopes"] if scope.startswith("..")]
    scopes = payload["scopes"][:2]
    more = {"language": languages[0]} if languages else {}
    kept = {name: payload[name] for name in payload if name != "tags"}
    return {**kept, "scopes": scopes, "path": "ada.message", "flags": ["value.said=True"], "pending": "words", **more}


LAYOUTS: dict[Callable[[str, dict[str, Any]], dict[str, Any]], list[str]] = {
    first_layout: ["value.text", "path", "value.role"],
    second_layout: ["path", "language", "pending", "value.role"],
}


def write(folder: Path, layout: Callable[[str, dict[str, Any]], dict[str, Any]], indexes: list[str]) -> None:
    client = EdgeClient(folder)
    for field in indexes:
        client.create_payload_index("", field_name=field, field_schema=KEYWORD)
    for number, (key, text) in enumerate(TEXTS.items()):
        value = {"text": text, "role": "user", "said": True}
        point = point_of(SPACE, Memory(key, value, terms=text, passage=text), number, "")
        payload = layout(text, point.payload or {})
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
            spoken = {record.payload["key"]: record.payload["scopes"][2:] for record in records}
            assert spoken == {"en": [], "zh": ["..unspaced"], "nfd": spoken["nfd"], "es": ["..es"]}
