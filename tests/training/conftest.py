"""A model of a few thousand random weights, with the demonstration's tokenizer."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

import torch

from tasks.own_backend import HeldOut
from training.config import Habits, LoadConfig
from training.load import load_policy
from training.policy import Policy
from training.tiny import corpus, make_tokenizer


def save_model(folder: Path, tokenizer: Any, width: int = 32, window: int = 768) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=window, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    texts = [m["content"] for d in islice(corpus(0, (4,), 8, Habits(), HeldOut([])), 60) for m in d[1:]]
    return make_tokenizer(texts, 600, 8)


@pytest.fixture(scope="session")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "micro"
    save_model(folder, tokenizer)
    return folder


@pytest.fixture
def policy(base: Path) -> Policy:
    return load_policy(base, loading=LoadConfig(rank=4, alpha=8))


def stir(policy: Policy, seed: int = 1) -> Policy:
    """An adapter that does something: a new one's second matrix is zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.3
    return policy
