"""Measure a policy on held-out tasks: tests passed, success, turns, questions by their use, reply length, KL to the start policy.

python -m training stage runs/demo seed-0/evaluate-sweet
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tasks.lookup import find_task
from tasks.person import REPEATED
from tasks.trajectory import Trajectory, read_trajectories
from training.collect import ResponderFactory, collect
from training.config import RolloutConfig
from training.home import home
from training.load import load_policy
from training.messages import whole
from training.policy import Policy, TooLong
from training.preference import log_ratios, with_reference
from training.stage import Job, Stage, Workspace, write_result, write_rows

MEASURED_FOR_KL = 64  # dialogues


def evaluate(
    policy: Policy, tasks: Sequence[str], rollouts: RolloutConfig, folder: Path, name: str,
    responders: ResponderFactory | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """One dialogue about each task, and its row of the report."""
    held = collect(policy, tasks, 1, rollouts, folder / "trajectories.jsonl", name, responders)
    return [row_of(trajectory) for trajectory in held]


def row_of(trajectory: Trajectory) -> dict[str, Any]:
    """What the report knows of a dialogue."""
    task = find_task(trajectory.task, home())
    return {
        "task": trajectory.task,
        "hidden": len(task.facts),
        "score": trajectory.score,
        "success": bool(trajectory.success),
        "turns": len(trajectory.replies),
        "answered": trajectory.stop == "answered",
        "leaks": trajectory.leaks,
        "told": len(trajectory.told) / len(task.facts) if task.facts else None,
        "tokens": trajectory.output_tokens / len(trajectory.replies),
        **questions(trajectory, [fact.statement for fact in task.facts]),
    }


def questions(trajectory: Trajectory, statements: Sequence[str]) -> dict[str, int]:
    """The agent's turns but the last: those that brought out something new, something known, or nothing."""
    counts, uncovered = {"useful": 0, "redundant": 0, "wasted": 0}, set[str]()
    for turn in trajectory.turns:
        if turn["role"] == "person":
            heard = {s for s in statements if s in turn["content"]}
            again = heard or turn["content"] == REPEATED
            counts["useful" if heard - uncovered else "redundant" if again else "wasted"] += 1
            uncovered |= heard
    return counts


@torch.inference_mode()
def divergence(policy: Policy, trajectories: Sequence[Trajectory], micro_batch: int) -> dict[str, float]:
    """What the policy has become, over its first 64 dialogues, which are sampled at temperature 1.

    `kl`: KL(π ‖ π_ref) of an agent's token, in nats, the mean log-ratio of what it said. `late_entropy`: entropy of a token of its
    later turns over that of its first; a policy that begins to say the same whatever it heard goes to 0.
    """
    rows = []
    for trajectory in trajectories[:MEASURED_FOR_KL]:
        with suppress(TooLong):  # its last reply ran into the window's end
            rows.append(policy.render(whole(trajectory)))
    total = 0.0
    said = {"first": [0.0, 0], "later": [0.0, 0]}
    measured = with_reference(policy, rows, micro_batch, "divergence")
    for at in range(0, len(measured), micro_batch):
        ratios, log_probs, batch = log_ratios(policy, measured[at : at + micro_batch])
        total += float(ratios.sum())
        for when, there in (("first", batch.turns == 0), ("later", batch.turns > 0)):
            said[when][0] -= float(log_probs[there].sum())
            said[when][1] += int(there.sum())
    entropy = {when: nats / max(1, tokens) for when, (nats, tokens) in said.items()}
    tokens = sum(tokens for _, tokens in said.values())
    return {"kl": total / max(1, tokens), "late_entropy": entropy["later"] / max(1e-9, entropy["first"])}


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """Each test set, at temperature 1, and the held-out tasks, if the recipe says so, at 0."""
    recipe, variant = workspace.recipe, job.variant
    method, base = variant.row.method, workspace.base(job.seed)
    adapter = None if method == "zero_shot" else workspace.path(job.of(method))
    merged = load_policy(base, adapter, recipe.loading, merged=True)
    sets, rollouts, name = recipe.test_sets(), replace(recipe.rollouts, seed=1_000 + job.seed), variant.name
    tasks = sets.pop("held_out")
    write_rows(part / "rows.jsonl", evaluate(merged, tasks, rollouts, part, f"{name} {job.seed}"))
    for other, ids in sets.items():
        (part / other).mkdir(exist_ok=True)
        label = f"{name} {job.seed}, {other.replace('_', ' ')}"
        write_rows(part / f"{other}.jsonl", evaluate(merged, ids, rollouts, part / other, label))
    if recipe.greedy:
        (part / "greedy").mkdir(exist_ok=True)
        cold = replace(rollouts, temperature=0.0)
        rows = evaluate(merged, tasks, cold, part / "greedy", f"{name} {job.seed}, greedy")
        write_rows(part / "greedy.jsonl", rows)
    policy = load_policy(base, adapter, recipe.loading)
    held = list(read_trajectories(part / "trajectories.jsonl"))
    write_result(part, divergence(policy, held, recipe.rft.micro_batch))


STAGE = Stage("evaluate", make, needs=("policy",))
