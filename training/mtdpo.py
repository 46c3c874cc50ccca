"""Multi-turn DPO, the baseline without credit for turns: whole dialogues in pairs, on the agent's tokens alone.

    loss = −log σ(β Σ_t Σ_l log π/π_ref (a_t^l⁺ | …) − β Σ_t Σ_l log π/π_ref (a_t^l⁻ | …)) + nll · NLL(chosen)

    python -m training stage runs/demo seed-0/mtdpo

After Xiong et al. 2024 and Song et al. 2024. With `nll=1` and `weight=λ` it is the loss of MAGNET, SFT + λ·mDPO (Yin et al. 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tasks.trajectory import Trajectory
from training.fit import Fitting, fit
from training.messages import whole
from training.policy import Policy, Rendered, TooLong
from training.preference import Pair, direct_preference, pairs_with_reference


@dataclass(frozen=True, kw_only=True)
class Preference:
    """How a policy is trained on pairs; the paper's values (table 5)."""

    beta: float = 0.1
    nll: float = 0.01
    """Weight of the negative log-likelihood of what was chosen."""
    weight: float = 1.0
    """Of the DPO loss."""
    fitting: Fitting = field(default_factory=Fitting)


def train_mtdpo(
    policy: Policy, pairs: Sequence[tuple[Trajectory, Trajectory]], preference: Preference, folder: Path
) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Train the adapter; what was measured at each step, and what was left out. Raises TrainingFailed."""
    rendered, too_long = [], 0
    for chosen, rejected in pairs:
        try:
            rendered.append((policy.render(whole(chosen)), policy.render(whole(rejected))))
        except TooLong:
            too_long += 1
    return fit_pairs(policy, rendered, preference, folder, "mtdpo"), {"pairs longer than the window": too_long}


def fit_pairs(
    policy: Policy, rendered: Sequence[tuple[Rendered, Rendered]], preference: Preference, folder: Path, name: str
) -> list[dict[str, float]]:
    """Train the adapter on rendered pairs, of dialogues or of turns; what was measured at each step. Raises TrainingFailed."""
    rows = pairs_with_reference(policy, rendered, preference.fitting.micro_batch, name)

    def loss(part: Sequence[Pair]) -> tuple[torch.Tensor, dict[str, float]]:
        return direct_preference(policy, part, preference.beta, preference.nll, preference.weight)

    return fit(policy.model, rows, loss, preference.fitting, folder, name)
