"""The embedder that keeps vectors: asked only for what is new, it answers as the one behind it does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory import embedder
from memory.embedder import CachingEmbedder
from memory.minilm import Floats
from tests.conftest import WordEmbedder


class Counting(WordEmbedder):
    """What it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: list[str]) -> Floats:
        self.asked += texts
        return super().embed(texts)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=9), max_size=12))
def test_it_answers_as_the_one_behind_it(batches: list[list[str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder, "CACHED", 4)
        keeping = CachingEmbedder(WordEmbedder())
        for texts in batches:
            assert np.array_equal(keeping.embed(texts), WordEmbedder().embed(texts))
            assert len(keeping._cache) <= 4


def test_a_text_is_asked_for_once_and_its_vector_is_its_own() -> None:
    keeping = CachingEmbedder(behind := Counting())
    keeping.embed(["one", "two", "one"])[0] = 7  # what is returned is the caller's
    assert np.array_equal(keeping.embed(["two", "three", "one"]), WordEmbedder().embed(["two", "three", "one"]))
    assert behind.asked == ["one", "two", "three"]
