"""Collect trajectories: rollouts of a policy through the collaborate graph, several for each task.

    python -m training stage runs/demo seed-0/collect

Dialogues of a local model run in lockstep: each round of replies is one batch. The file grows by whole groups of dialogues:
what is there when a run was killed is not done again. For a model at an endpoint, `python -m evaluation colbench` writes the
trajectories, and a recipe takes its file.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from tqdm import tqdm

from graphs import collaborate
from tasks.colbench import task_of
from tasks.dialogue import said_by
from tasks.lookup import find_task, store_tasks
from tasks.trajectory import Trajectory, read_trajectories, trajectory_of
from text import read_json_lines
from training.chat import Answer, run_lockstep, sampler
from training.config import RolloutConfig
from training.home import home
from training.policy import Policy
from training.stage import Job, Stage, Workspace, write_result, write_rows

ResponderFactory = Callable[[list[str], int], Answer]
"""Builds the responder for one group of tasks and a seed."""


def collect(
    policy: Policy, tasks: Sequence[str], samples: int, rollouts: RolloutConfig, path: Path, name: str,
    responders: ResponderFactory | None = None, most: float = math.inf,
) -> list[Trajectory]:  # fmt: skip
    """`samples` dialogues about each task with the simulated person, one about each before the next, and their trajectories;
    no further group of them once the policy has said `most` replies.

    `responders` answer in the policy's place.
    Raises ValueError if that person knows nothing of a task, and what the graph raises: SandboxFailed, TruthFailed, BadTask,
    ModelFailed.
    """
    unknown = [task for task in tasks if rollouts.person == "rules" and not find_task(task, home()).facts]
    if unknown:
        raise ValueError(
            f'The task {unknown[0]} has no facts, of which the person of rules tells: set rollouts.person to "model", and '
            "rollouts.person_model to who plays it."
        )
    wanted = [(task, sample) for sample in range(samples) for task in tasks]
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _whole_groups(path, rollouts.group, len(wanted))
    bar = tqdm(total=len(wanted), initial=len(done), desc=name, disable=None)
    while len(done) < len(wanted) and sum(len(t.replies) for t in done) < most:
        group = wanted[len(done) : len(done) + rollouts.group]
        seed = rollouts.seed * 100_003 + len(done)
        if responders is not None:
            answer = responders([task for task, _ in group], seed)
        else:
            answer = sampler(
                policy, most=rollouts.most, temperature=rollouts.temperature, seed=seed, rows=rollouts.rows
            )
        made = run_lockstep([_dialogue(task, sample, policy.base, rollouts) for task, sample in group], answer)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(t.to_row(), ensure_ascii=False) + "\n" for t in made))
        done += made
        bar.update(len(made))
        bar.set_postfix_str(f"success {sum(bool(t.success) for t in done) / len(done):.3f}")
    return done[: len(wanted)]


def _dialogue(task: str, sample: int, model: str, rollouts: RolloutConfig) -> Callable[[BaseChatModel], Trajectory]:
    def hold(chat: BaseChatModel) -> Trajectory:
        context = collaborate.Context(
            model=chat, person=rollouts.person, person_model=rollouts.person_model, max_turns=rollouts.max_turns,
            seed=rollouts.seed * 1_000 + sample, settings=home(),
        )  # fmt: skip
        limit: Any = {"recursion_limit": context.supersteps}
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
    raw = [row for _, row in read_json_lines(path)]
    public = [n for n, row in enumerate(raw) if "dialogue_history" in row]
    ids = (
        store_tasks([task_of(raw[n]["task"], f"{path.stem}-{n}") for n in public], path.stem, home()) if public else []
    )
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


def make(workspace: Workspace, job: Job, part: Path) -> None:
    """Dialogues of the start policy about the training tasks, or those of a file."""
    recipe, path = workspace.recipe, part / "trajectories.jsonl"
    if recipe.trajectories:
        made = take(Path(recipe.trajectories))
        write_rows(path, [t.to_row() for t in made])
    else:
        rollouts, most = replace(recipe.rollouts, seed=job.seed), max(recipe.replies)
        tasks = recipe.train_of(job.seed)
        samples = math.ceil(most / len(tasks))  # were each dialogue one reply
        policy = workspace.start_policy(job.seed)
        made = collect(policy, tasks, samples, rollouts, path, f"collect {job.seed}", most=most)
    scored = [t for t in made if t.score is not None]
    left_out = {
        "trajectories without a score": len(made) - len(scored),
        "dialogues in which the person gave code away": sum(t.leaks > 0 for t in scored),
    }
    write_result(part, {**_summary(scored), "leak_rate": leak_rate(made), "left_out": left_out})


def leak_rate(rows: Sequence[Trajectory]) -> float:
    """Share of a simulated person's replies that gave code of the reference away."""
    return sum(t.leaks for t in rows) / max(1, sum(len(said_by("person", t.turns)) for t in rows))


def _summary(rows: Sequence[Trajectory]) -> dict[str, float]:
    """How good dialogues are."""
    count = max(1, len(rows))
    success, tests = sum(bool(t.success) for t in rows) / count, sum(t.score or 0 for t in rows) / count
    return {"dialogues": len(rows), "tasks": len({t.task for t in rows}), "success": success, "tests": tests}


STAGE = Stage("collect", make, needs=("start",))
