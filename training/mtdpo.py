"""Multi-turn DPO, the baseline without credit for turns: whole dialogues in pairs, on the agent's tokens alone.

    loss = −log σ(β Σ_t Σ_l log π/π_ref (a_t^l⁺ | …) − β Σ_t Σ_l log π/π_ref (a_t^l⁻ | …)) + nll · NLL(chosen)

    python -m training stage runs/demo seed-0/mtdpo

After Xiong et al. 2024 and Song et al. 2024, whose nll is 0; with it, this is MAGNET's loss (Yin et al. 2025).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tasks.dialogue import Message
from training.config import PreferenceConfig
from training.fit import fit
from training.messages import whole
from training.policy import Policy
from training.preference import Pair, direct_preference, pairs_with_reference, render_pairs
from training.stage import Job, Stage, Workspace, finish_policy


def fit_pairs(
    policy: Policy, pairs: Sequence[tuple[list[Message], list[Message]]], config: PreferenceConfig, folder: Path, name: str,
    only_last: bool = False,
) -> tuple[list[dict[str, float]], dict[str, int]]:  # fmt: skip
    """Train the adapter on pairs of dialogues, or on their last turns; what was measured at each step, and what was left out.

    Raises TrainingFailed.
    """
    rendered, left_out = render_pairs(policy, pairs, only_last)
    rows = pairs_with_reference(policy, rendered, config.fitting.micro_batch, name)

    def loss(part: Sequence[Pair]) -> tuple[torch.Tensor, dict[str, float]]:
        return direct_preference(policy, part, config.beta, config.nll)

    return fit(policy.model, rows, loss, config.fitting, folder, name), left_out


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """The baselines of multi-turn DPO and of MAGNET."""
    policy, recipe = workspace.new_policy(job.seed), workspace.recipe_of(job)
    pairs = workspace.pairs(workspace.collected(job))
    config = recipe.magnet if job.variant.row.likelihood else recipe.mtdpo
    config = replace(config, fitting=replace(config.fitting, seed=job.seed))
    dialogues = [(whole(chosen), whole(rejected)) for chosen, rejected in pairs.pairs]
    history, left_out = fit_pairs(policy, dialogues, config, part, "mtdpo")
    finish_policy(policy, part, history, {**pairs.left_out, **left_out})


STAGE = Stage("mtdpo", make, needs=("collect",))
