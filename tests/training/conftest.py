"""A model of a few thousand random weights, with the demonstration's tokenizer."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the train extra is not installed")

import torch

from evaluation.scripted_agents import AGENTS
from graphs import collaborate
from settings import Settings
from tasks.lookup import find_task
from tasks.own_backend import HeldOut
from training.collect import TrajectoryFile
from training.config import CandidateConfig, Habits, LoadConfig, PreferenceConfig, RolloutConfig, TrainConfig
from training.load import load_policy
from training.policy import Policy
from training.recipe import Recipe, Tasks
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


TRAIN = Tasks(count=8, difficulties=(3, 4), families=3)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trajectories by the callback: of each task one that asks for everything, and one that guesses."""
    path = tmp_path_factory.mktemp("spoken") / "trajectories.jsonl"
    for task in TRAIN.ids():
        for name in ("asking", "guessing"):
            context = collaborate.Context(model=AGENTS[name](find_task(task, Settings())), person="rules", max_turns=8)
            collaborate.graph.invoke({"task": task}, {"callbacks": [TrajectoryFile(path)]}, context=context)
    return path


@pytest.fixture
def recipe(base: Path, spoken: Path) -> Recipe:
    fitting = TrainConfig(lr=1e-3, epochs=2, batch=4, micro_batch=4, save_every=2)
    return Recipe(
        base=str(base), loading=LoadConfig(rank=4, alpha=8), train=TRAIN, trajectories=str(spoken),
        held_out=Tasks(split="own-backend/test", count=4), new_families=replace(Recipe().new_families, count=2),
        new_phrasing=Tasks(count=0), rollouts=RolloutConfig(max_turns=3, most=10, group=4, rows=16),
        validation=0.25, rft=fitting, mtdpo=PreferenceConfig(fitting=fitting), critic=PreferenceConfig(fitting=fitting),
        candidates=CandidateConfig(samples=4), actor=PreferenceConfig(fitting=replace(fitting, epochs=1)),
        seeds=(0,), greedy=True, replies=(40,), rows=("zero_shot", "mtdpo", "sweet_house"),
    )  # fmt: skip


def stir(policy: Policy, seed: int = 1) -> Policy:
    """An adapter that does something: a new one's second matrix is zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator) * 0.3
    return policy
