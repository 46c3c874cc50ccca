"""Multi-turn DPO, the baseline without credit for turns: whole dialogues in pairs, on the agent's tokens alone.

    loss = −log σ(β Σ_t Σ_l log π/π_ref (a_t^l⁺ | …) − β Σ_t Σ_l log π/π_ref (a_t^l⁻ | …)) + nll · NLL(chosen)

    python -m training stage runs/demo seed-0/mtdpo

After Xiong et al. 2024 and Song et al. 2024.

Departures: (1) the demonstration's recipe has nll = 1, and so trains MAGNET's loss; the papers of multi-turn DPO have none.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tasks.trajectory import Trajectory
from training.batch import Rendered
from training.config import PreferenceConfig
from training.fit import fit
from training.messages import whole
from training.policy import Policy, TooLong
from training.preference import Pair, direct_preference, pairs_with_reference
from training.stage import Job, Stage, Workspace, finish_policy


def train_mtdpo(
    policy: Policy, pairs: Sequence[tuple[Trajectory, Trajectory]], config: PreferenceConfig, folder: Path
) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Train the adapter; what was measured at each step, and what was left out. Raises TrainingFailed."""
    rendered, too_long = [], 0
    for chosen, rejected in pairs:
        try:
            rendered.append((policy.render(whole(chosen)), policy.render(whole(rejected))))
        except TooLong:
            too_long += 1
    return fit_pairs(policy, rendered, config, folder, "mtdpo"), {"pairs longer than the window": too_long}


def fit_pairs(
    policy: Policy, rendered: Sequence[tuple[Rendered, Rendered]], config: PreferenceConfig, folder: Path, name: str
) -> list[dict[str, float]]:
    """Train the adapter on rendered pairs, of dialogues or of turns; what was measured at each step. Raises TrainingFailed."""
    rows = pairs_with_reference(policy, rendered, config.fitting.micro_batch, name)

    def loss(part: Sequence[Pair]) -> tuple[torch.Tensor, dict[str, float]]:
        return direct_preference(policy, part, config.beta, config.nll)

    return fit(policy.model, rows, loss, config.fitting, folder, name)


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """The baseline of multi-turn DPO."""
    policy, recipe = workspace.new_policy(job.seed), workspace.recipe
    pairs = workspace.pairs(workspace.collected(job))
    config = replace(recipe.mtdpo, fitting=replace(recipe.mtdpo.fitting, seed=job.seed))
    history, left_out = train_mtdpo(policy, pairs.pairs, config, part)
    finish_policy(policy, part, history, {**pairs.left_out, **left_out})


STAGE = Stage(make, needs=("collect",))
