"""Archival storage: cut, found again, put together again, replaced, forgotten."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.archival import CHUNK, Archival
from memory.documents import Section, read_document
from memory.edge import EdgeClient
from memory.points import Memory
from memory.store import QdrantStore
from tests.conftest import WordEmbedder


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


PIECES = st.sampled_from(
    [
        "Word ",
        "two\n",
        "\n\n",
        " ",
        "\t",
        "A longer sentence about tea and ships. ",
        "x" * 700,
        "\n# Heading\n",
        "\r\n",
        "猫",
        "é",
    ]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sections=st.lists(st.lists(PIECES, max_size=40).map("".join), min_size=1, max_size=4))
def test_the_text_of_a_document_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, sections: list[str]
) -> None:
    with QdrantStore(EdgeClient(tmp_path_factory.mktemp("s")), WordEmbedder()) as store:
        archival = Archival(store, "ada")
        given = [Section(text, f"part {n}") for n, text in enumerate(sections)]
        if not "".join(sections).strip():
            with pytest.raises(ValueError, match="no text"):
                archival.ingest("a.txt", given)
            return
        archival.ingest("a.txt", given)
        whole = archival.text("a.txt")
        assert whole == "".join(sections)
        assert all(len(i.value["text"]) <= CHUNK for i in store.find(archival.namespace, page_size=500).items)


def test_a_page_that_begins_with_white_space_erases_nothing(store: QdrantStore) -> None:
    archival = Archival(store, "ada")
    pages = [
        Section("Page one has the whole contract.\n\n", "page 1"),
        Section("\n Page two has the signatures.", "page 2"),
    ]
    archival.ingest("x.pdf", pages)
    assert archival.text("x.pdf") == pages[0].text + pages[1].text


def test_a_clock_that_is_set_back_changes_no_order(store: QdrantStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = time.time_ns, iter(range(10**9))
    monkeypatch.setattr(time, "time_ns", lambda: real() - 5_000_000 * next(asked))
    text = " ".join(f"sentence{n} of the document." for n in range(200))
    archival = Archival(store, "ada")
    archival.ingest("d.txt", [Section(text, "")])
    assert archival.text("d.txt") == text
    for n in range(20):
        store.write(("ada", "message"), [Memory(f"{n}-{m}", {"text": "x"}) for m in range(3)])
    found = store.find(("ada", "message"), page_size=100).items
    assert [i.key for i in found] == [f"{n}-{m}" for n in range(20) for m in range(3)]


def test_a_document_is_whole_while_a_new_version_of_it_is_written(
    store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    archival = Archival(store, "ada")
    archival.ingest("a.txt", [Section("The first version.", "")])
    with monkeypatch.context() as broken:
        broken.setattr(store, "batch", lambda *_: 1 / 0)  # killed after the new passages were written
        with pytest.raises(ZeroDivisionError):
            archival.ingest("a.txt", [Section("The second version.", "")])
    assert archival.text("a.txt") == "The first version."
    archival.ingest("a.txt", [Section("The third version.", "")])
    assert archival.text("a.txt") == "The third version."
    assert archival.sources() == {"a.txt": 1}
