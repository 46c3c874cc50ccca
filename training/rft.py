"""Rejection fine-tuning, the simplest baseline: likelihood of the agent's tokens in the dialogues that succeeded.

loss = −mean over tokens of log π(a_t^l | o_t, a_t^<l)

With partial masking, turns to which the person told nothing stay in the context and leave the loss (STeP, 2025).

python -m training stage runs/demo seed-0/rft
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path

import torch

from tasks.dialogue import said_by
from tasks.lookup import find_task
from tasks.trajectory import Trajectory
from training.batch import NO_TURN, Rendered, token_log_probs
from training.config import TrainConfig
from training.fit import fit
from training.home import home
from training.messages import whole
from training.pairs import SILENT
from training.policy import Policy, TooLong
from training.stage import Job, Stage, Workspace, finish_policy


def likelihood_loss(policy: Policy, rows: Sequence[Rendered]) -> tuple[torch.Tensor, dict[str, float]]:
    """Negative log-likelihood, the mean over all the agent's tokens of the rows."""
    batch = policy.collate(rows)
    said = batch.turns[:, 1:] != NO_TURN
    return -(token_log_probs(policy.model, batch) * said).sum() / said.sum(), {}


def train_rft(
    policy: Policy, trajectories: Sequence[Trajectory], config: TrainConfig, folder: Path, masked: bool = False
) -> tuple[list[dict[str, float]], dict[str, int]]:
    """Train the adapter; what was measured at each step, and what was left out. Raises TrainingFailed."""
    rows: list[Rendered] = []
    left_out = {"dialogues that did not succeed": 0, "dialogues longer than the window": 0, SILENT: 0}
    for trajectory in trajectories:
        if not trajectory.success:
            left_out["dialogues that did not succeed"] += 1
            continue
        if not trajectory.replies:
            left_out[SILENT] += 1
            continue
        try:
            rendered = policy.render(whole(trajectory))
            rows.append(without_turns(rendered, vain_turns(trajectory)) if masked else rendered)
        except TooLong:
            left_out["dialogues longer than the window"] += 1
    history = fit(policy.model, rows, lambda part: likelihood_loss(policy, part), config, folder, "rft")
    return history, left_out


def vain_turns(trajectory: Trajectory) -> set[int]:
    """The agent's turns, from 0, to which the person told no fact; none where facts are not known."""
    facts = find_task(trajectory.task, home()).facts if trajectory.told else ()
    replies = said_by("person", trajectory.turns)
    return {n for n, reply in enumerate(replies) if facts and not any(f.statement in reply for f in facts)}


def without_turns(row: Rendered, left_out: Set[int]) -> Rendered:
    """The row with these turns as context alone."""
    return Rendered(row.ids, tuple(NO_TURN if turn in left_out else turn for turn in row.turns))


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """The baseline of rejection fine-tuning."""
    policy = workspace.new_policy(job.seed)
    config = replace(workspace.recipe_of(job).rft, seed=job.seed)
    history, left_out = train_rft(policy, workspace.collected(job), config, part, job.variant.row.masked)
    finish_policy(policy, part, history, left_out)


STAGE = Stage("rft", make, needs=("collect",))
