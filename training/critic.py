"""The critic: a turn-wise advantage that sees the hidden reference (Zhou et al. 2025, section 4.1).

    A(o_t, a_t, c) = 1/L_t · Σ_l [log π_θ(a_t^l | c, o_t, a_t^<l) − log π_ref(a_t^l | o_t, a_t^<l)]
    loss           = −log σ(β Σ_t A(o_t⁺, a_t⁺, c) − β Σ_t A(o_t⁻, a_t⁻, c)) + nll · NLL(chosen)

    python -m training stage runs/demo seed-0/critic-sweet_house

θ is the adapter, ref the same model without it. c stands in the system message, and only the agent's tokens count.

Departures of the form `house` from the paper:
1. The reference sees c while the critic is trained, where that is a constant of each pair, and not while it scores, as in the
   released code. In the paper's text (form `published`) it sees c in both, and what the start policy can read in c cancels.
2. c is the single facts that the description leaves open, where a task has them, and the reference; the paper's is the reference.
3. Weights, epochs and rates are the recipe's; the paper's are the defaults of PreferenceConfig.
In our demonstration an untrained critic does as well as a trained one: see README, "Training".
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tasks.trajectory import Trajectory
from training.advantage import Head, advantages, load_head, messages_for, save_head
from training.batch import turn_sums
from training.config import FORMS, CriticForm, PreferenceConfig
from training.fit import fit
from training.policy import Policy
from training.preference import Pair, ReferencedRow, dpo_loss, log_ratios, pairs_with_reference, render_pairs
from training.stage import Job, Stage, Workspace, finish_policy
from training.turn_ranking import validate


def critic_loss(
    policy: Policy, form: CriticForm, head: Head | None, pairs: Sequence[Pair], beta: float, nll: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """Bradley–Terry loss of the summed advantages, and nll times the negative log-likelihood of what was chosen."""
    rows = [p.chosen for p in pairs] + [p.rejected for p in pairs]
    if head is not None:
        batch = policy.collate([row.rendered for row in rows])
        chosen, rejected = head(policy.model, batch).sum(1).chunk(2)
        likelihood = torch.zeros(())
    else:
        ratios, log_probs, batch = log_ratios(policy, rows)
        chosen, rejected = advantages(form, ratios, batch.turns).sum(1).chunk(2)
        sums, counts = turn_sums(log_probs[: len(pairs)], batch.turns[: len(pairs)])
        likelihood = -((sums / counts.clamp(min=1)).sum(1) / (counts > 0).sum(1)).mean()
    loss = dpo_loss(chosen, rejected, beta).mean() + nll * likelihood
    metrics = {"accuracy": (chosen > rejected).float().mean().item(), "margin": (chosen - rejected).mean().item()}
    return loss, metrics


def train_critic(
    policy: Policy, form: CriticForm, head: Head | None, pairs: Sequence[tuple[Trajectory, Trajectory]], config: PreferenceConfig,
    folder: Path,
) -> tuple[list[dict[str, float]], dict[str, int]]:  # fmt: skip
    """Train adapter and head; what was measured at each step, and what was left out. Raises TrainingFailed."""
    dialogues = [(messages_for(form, chosen), messages_for(form, rejected)) for chosen, rejected in pairs]
    rendered, left_out = render_pairs(policy, dialogues)
    micro = config.fitting.micro_batch
    if head is None:
        rows = pairs_with_reference(policy, rendered, micro, "critic")
    else:
        rows = [Pair(ReferencedRow(chosen), ReferencedRow(rejected)) for chosen, rejected in rendered]
    history = fit(
        torch.nn.ModuleList([policy.model, *([head] if head else [])]), rows,
        lambda part: critic_loss(policy, form, head, part, config.beta, config.nll), config.fitting, folder, "critic",
    )  # fmt: skip
    return history, left_out


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """The critic, and how well it ranks what it was not trained on."""
    recipe, form = workspace.recipe_of(job), FORMS[job.variant.row.form]
    policy = workspace.new_policy(job.seed)
    head = load_head(policy, form)
    rows = workspace.collected(job)
    held_out = last_tasks(rows, recipe.validation)
    pairs = workspace.pairs([t for t in rows if t.task not in held_out], with_task=True)
    config = replace(recipe.critic, fitting=replace(recipe.critic.fitting, seed=job.seed))
    history: list[dict[str, float]] = []
    left_out: dict[str, int] = {}
    if form.trained:
        history, left_out = train_critic(policy, form, head, pairs.pairs, config, part)
    save_head(head, part)
    measured = validate(policy, form, head, [t for t in rows if t.task in held_out], recipe, job.seed)
    finish_policy(policy, part, history, {**pairs.left_out, **left_out}, measured)


def last_tasks(rows: Sequence[Trajectory], share: float) -> set[str]:
    """The last share of the tasks, which the critic is measured on."""
    tasks = list(dict.fromkeys(t.task for t in rows))
    return set(tasks[len(tasks) - round(share * len(tasks)) :])


STAGE = Stage("critic", make, needs=("collect",))
