"""A memory of the first layout: found as ever, and in other scripts too, after it was opened once."""

from pathlib import Path

from qdrant_client import models

from memory.edge import EdgeClient
from memory.points import KEYWORD, Memory, point_of
from memory.store import QdrantStore
from memory.upgrade import FIRST_LAYOUT
from tests.conftest import WordEmbedder

SPACE = ("ada", "message")
TEXTS = {"en": "Green tea is warm", "zh": "我的猫叫拜伦", "nfd": "re\u0301sume\u0301"}


def first_layout(folder: Path) -> None:
    client = EdgeClient(folder)
    client.create_payload_index("", field_name=FIRST_LAYOUT, field_schema=KEYWORD)
    for number, (key, text) in enumerate(TEXTS.items()):
        point = point_of(SPACE, Memory(key, {"text": text}), number, "")
        payload = {k: v for k, v in (point.payload or {}).items() if k not in ("normalised", "language", "words")}
        payload |= {"folded": text.casefold(), "terms": text, "passage": text}
        client.upsert("", [models.PointStruct(id=point.id, vector={}, payload=payload)])
    client.close()


def test_it_is_brought_up_to_date_once_and_loses_nothing(tmp_path: Path) -> None:
    first_layout(tmp_path)
    for _ in range(2):
        with QdrantStore(EdgeClient(tmp_path), WordEmbedder()) as store:
            assert store.find(SPACE, "Green").total == 1
            assert store.find(SPACE, "RÉSUMÉ", case_sensitive=False).total == 1
            assert store.rank(SPACE, "猫").items[0].key == "zh"
            assert store.rank(SPACE, "warm teas").items[0].key == "en"
            assert FIRST_LAYOUT not in store.client.indexed_fields()
