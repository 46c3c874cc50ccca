"""Collect trajectories: rollouts of a policy through the collaborate graph, several for each task.

    python -m training stage runs/demo seed-0/collect

A local model's dialogues go in step, so that a turn of all is one batch. A model at an endpoint is asked by concurrent requests,
with `python -m evaluation colbench`; a recipe takes its trajectories as a file. The file here grows by whole groups of dialogues:
what is there when a run was killed is not done again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from tqdm import tqdm

from graphs import collaborate
from tasks.book import keep_tasks
from tasks.colbench import task_of
from tasks.trajectory import Trajectory, read_trajectories, trajectory_of
from training.chat import Answer, in_step, sampler
from training.policy import Policy

DIALOGUE_STEPS = 20


Voice = Callable[[list[str], int], Answer]


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
    policy: Policy, tasks: Sequence[str], samples: int, rollouts: Rollouts, path: Path, name: str,
    voice: Voice | None = None,
) -> list[Trajectory]:  # fmt: skip
    """`samples` dialogues about each task, by the simulated person of rules, and their trajectories in the tasks' order.

    `voice` makes, for a group's tasks and a seed, who answers in the policy's place.
    Raises what the graph raises: SandboxFailed, TruthFailed, BadTask.
    """
    wanted = [(task, sample) for task in tasks for sample in range(samples)]
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _whole_groups(path, rollouts.group, len(wanted))
    bar = tqdm(total=len(wanted), initial=len(done), desc=name, disable=None)
    while len(done) < len(wanted):
        group = wanted[len(done) : len(done) + rollouts.group]
        seed = rollouts.seed * 100_003 + len(done)
        if voice is not None:
            answer = voice([task for task, _ in group], seed)
        else:
            answer = sampler(
                policy, most=rollouts.most, temperature=rollouts.temperature, seed=seed, rows=rollouts.rows
            )
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
    whole = [
        f"{line}\n" for line in path.read_text(encoding="utf-8").split("\n")[:-1]
    ]  # the last was cut off, or is none
    kept = whole if len(whole) == wanted else whole[: len(whole) // group * group]
    path.write_text("".join(kept), encoding="utf-8")
    return [trajectory_of(json.loads(line)) for line in kept]


def take(path: Path) -> list[Trajectory]:
    """The trajectories of a file: ours, or public ColBench's offline rows, whose tasks are kept so that a critic finds them.

    Raises BadTrajectory, BadTask, naming file, line and field; OSError.
    """
    rows = list(read_trajectories(path))
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    public = [n for n, row in enumerate(raw) if "dialogue_history" in row]
    ids = keep_tasks([task_of(raw[n]["task"], f"{path.stem}-{n}") for n in public], path.stem) if public else []
    same: dict[str, str] = {}  # dialogues about one task share its id
    for n, id in zip(public, ids, strict=True):
        rows[n] = replace(rows[n], task=same.setdefault(json.dumps(raw[n]["task"], sort_keys=True), id))
    return rows


class TrajectoryFile(BaseCallbackHandler):
    """A callback that keeps the trajectory of every collaboration it is passed to.

    graph.invoke({"task": id}, {"callbacks": [TrajectoryFile(path)]}, context=context)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_chain_end(self, outputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        """A run's end; what ends inside it is not one."""
        if parent_run_id is None and isinstance(outputs, dict) and outputs.get("trajectory"):
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(outputs["trajectory"], ensure_ascii=False) + "\n")
