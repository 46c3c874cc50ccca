"""The embedder: MiniLM on this machine, or any OpenAI-compatible `/embeddings` endpoint. Opened at its first use.

The vectors of the last texts are kept: one is stored, searched for and compared with within the same step.
"""

import threading
from collections import OrderedDict
from typing import Protocol

import numpy as np

from memory.minilm import DIMENSIONS, Floats, MiniLM
from memory.words import ENGLISH
from settings import Settings

CACHED = 2000
"""Vectors: 3 MB of MiniLM's."""
MINILM = f"minilm-l6-v2-{DIMENSIONS}"


class Embedder(Protocol):
    """Text to unit vectors. Vectors of two embedders never mix: `name` is the name of their vectors in Qdrant."""

    name: str

    def embed(self, texts: list[str]) -> Floats:
        """Embed `texts`; shape (len(texts), dimensions), rows of length 1."""
        ...


class EmbeddingFailed(RuntimeError):
    """The embedder's endpoint did not answer, or answered with vectors of another shape."""


class LocalEmbedder:
    """MiniLM (384 floats, English), loaded when the first text comes. Raises WeightsMissing then."""

    name = MINILM

    def __init__(self) -> None:
        self._model: MiniLM | None = None
        self._guard = threading.Lock()

    def embed(self, texts: list[str]) -> Floats:
        with self._guard:
            if self._model is None:
                self._model = MiniLM()
        return self._model.embed(texts)


class EndpointEmbedder:
    """An OpenAI-compatible `/embeddings` endpoint. Raises EmbeddingFailed."""

    def __init__(self, url: str, model: str, key: str) -> None:
        from openai import OpenAI  # slow to import, and only needed here

        self.name = model.replace("/", "_")
        self._model = model
        self._url = url
        self._client = OpenAI(base_url=url, api_key=key or "none", timeout=60.0, max_retries=3)

    def embed(self, texts: list[str]) -> Floats:
        from openai import OpenAIError

        try:
            answer = self._client.embeddings.create(model=self._model, input=texts, encoding_format="float")
        except OpenAIError as error:
            raise EmbeddingFailed(
                f"The embedder {self._model} at {self._url} failed ({error}). What was written is kept and will be embedded "
                "when it answers; searches by exact text and by date work without it."
            ) from error
        rows = [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]
        if len(rows) != len(texts) or len({len(row) for row in rows}) != 1 or not rows[0]:
            raise EmbeddingFailed(
                f"{self._url} returned {len(rows)} vectors for {len(texts)} texts, or of mixed sizes."
            )
        vectors = np.asarray(rows, np.float32)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


class CachingEmbedder:
    """An LRU cache in front of an embedder."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = embedder.name
        self._embedder = embedder
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._guard = threading.Lock()

    def embed(self, texts: list[str]) -> Floats:
        """Of at least one text."""
        with self._guard:
            found = {text: self._cache[text] for text in texts if text in self._cache}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            found.update((text, row.copy()) for text, row in zip(new, self._embedder.embed(new), strict=True))
        with self._guard:
            for text in dict.fromkeys(texts):
                self._cache[text] = found[text]
                self._cache.move_to_end(text)
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return np.stack([found[text] for text in texts])

    def forget(self) -> None:
        """Drop all texts and vectors."""
        with self._guard:
            self._cache.clear()


def reads(embedder: Embedder, language: str) -> bool:
    """Whether the embedder was trained on texts of that language (memory.words)."""
    return embedder.name != MINILM or language == ENGLISH


def open_embedder(settings: Settings) -> Embedder:
    """The embedder that the settings name."""
    return CachingEmbedder(_open(settings))


def _open(settings: Settings) -> Embedder:
    if settings.embeddings_url:
        key = settings.embeddings_key.get_secret_value()
        return EndpointEmbedder(settings.embeddings_url, settings.embeddings_model, key)
    return LocalEmbedder()
