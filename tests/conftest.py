"""What tests share: a home folder of their own, an instant embedder, an open runtime."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"  # read once, when LangGraph is imported
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # two test processes share two cores

import numpy as np

from memory.edge import EdgeClient
from memory.minilm import Floats
from memory.store import QdrantStore
from runtime import Runtime, open_runtime
from settings import Settings
from tasks.dialogue import Turn
from tests.spare import Spare
from training.home import home as training_home

OUTSIDE = ("OPENAI_", "QDRANT_", "PALIMPSEST_")


def said(role: Literal["agent", "person"], content: str) -> Turn:
    """One turn of a dialogue."""
    return Turn(role=role, content=content, thought="", leak="")


class WordEmbedder:
    """Texts that share words are near: each word is a direction. Instant, and without weights."""

    name = "words-64"

    def embed(self, texts: list[str]) -> Floats:
        rows = np.full((len(texts), 64), 1e-3, np.float32)
        for n, text in enumerate(texts):
            for word in re.findall(r"\w+", text.casefold()):
                rows[n, hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the settings, the memory or the endpoints of the machine."""
    for name in list(os.environ):
        if name.startswith(OUTSIDE):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PALIMPSEST_CALLS", "native")  # how a model calls tools is found in tests of its own
    training_home.cache_clear()
    monkeypatch.setattr("models.endpoint.LOCAL_SERVERS", {})
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit's AppTest leaves its page as `__main__`, which a process that is spawned later would run."""
    kept = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = kept


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the component for WebAssembly is built once, for all processes of this run: it takes a while."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, builds: Path) -> None:
    """Settings with that home."""
    monkeypatch.setenv("PALIMPSEST_HOME", str(builds))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[QdrantStore]:
    with QdrantStore(EdgeClient(tmp_path / "store"), WordEmbedder()) as opened:
        yield opened


@pytest.fixture(scope="session")
def spare() -> Iterator[Spare]:
    """A process that forks others, to be killed."""
    made = Spare()
    yield made
    made.close()


@pytest.fixture
def runtime(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.setattr("memory.store.open_embedder", lambda settings: WordEmbedder())
    with open_runtime(Settings(home=home)) as opened:
        yield opened
