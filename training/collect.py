"""Collect trajectories: rollouts of a policy through the collaborate graph, several for each task.

    python -m training collect --model runs/demo/tiny --split own-backend/train --count 300 --samples 4 --out runs/demo/trajectories.jsonl

A local model's dialogues go in step, so that a turn of all is one batch; a model at an endpoint is asked by concurrent requests
(`python -m evaluation colbench`). The file grows by whole groups of dialogues: what is there when a run was killed is not done again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from tqdm import tqdm

from graphs import collaborate
from tasks.trajectory import Trajectory, trajectory_of
from training.chat import in_step, sampler
from training.policy import Policy

DIALOGUE_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """How dialogues are held."""

    max_turns: int = 10
    temperature: float = 1.0
    most: int = 1024
    """Tokens of a reply."""
    group: int = 128
    """Dialogues in step."""
    rows: int = 128
    """Prompts in memory at once."""
    vagueness: float = 0.0
    forgetfulness: float = 0.0
    seed: int = 0


def collect(
    policy: Policy, tasks: Sequence[str], samples: int, rollouts: Rollouts, path: Path, name: str
) -> list[Trajectory]:
    """`samples` dialogues about each task, by the simulated person of rules, and their trajectories in the tasks' order.

    Raises what the graph raises: SandboxFailed, TruthFailed, BadTask.
    """
    wanted = [(task, sample) for task in tasks for sample in range(samples)]
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _whole_groups(path, rollouts.group, len(wanted))
    bar = tqdm(total=len(wanted), initial=len(done), desc=name, disable=None)
    while len(done) < len(wanted):
        group = wanted[len(done) : len(done) + rollouts.group]
        answer = sampler(
            policy, most=rollouts.most, temperature=rollouts.temperature, seed=rollouts.seed * 100_003 + len(done),
            rows=rollouts.rows,
        )  # fmt: skip
        made = in_step([_dialogue(task, sample, policy.base, rollouts) for task, sample in group], answer)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(t.to_row(), ensure_ascii=False) + "\n" for t in made))
        done += made
        bar.update(len(made))
        bar.set_postfix_str(f"success {sum(bool(t.success) for t in done) / len(done):.3f}")
    return done[: len(wanted)]


def _dialogue(task: str, sample: int, model: str, rollouts: Rollouts) -> Callable[[BaseChatModel], Trajectory]:
    def hold(chat: BaseChatModel) -> Trajectory:
        context = collaborate.Context(
            model=chat, person="rules", max_turns=rollouts.max_turns, vagueness=rollouts.vagueness,
            forgetfulness=rollouts.forgetfulness, seed=rollouts.seed * 1_000 + sample,
        )  # fmt: skip
        limit: Any = {"recursion_limit": DIALOGUE_STEPS + 4 * rollouts.max_turns}
        state = collaborate.graph.invoke({"task": task}, limit, context=context)
        return replace(trajectory_of(state["trajectory"]), agent=model)

    return hold


def _whole_groups(path: Path, group: int, wanted: int) -> list[Trajectory]:
    """What an earlier run finished: a group that a kill cut off is dropped."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept = whole if len(whole) == wanted else whole[: len(whole) // group * group]
    path.write_text("".join(kept), encoding="utf-8")
    return [trajectory_of(json.loads(line)) for line in kept]
