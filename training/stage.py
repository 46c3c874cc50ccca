"""What a stage is: a folder of a run that is made from others. Each stage's file declares its own, as STAGE.

A stage is made as NAME.part and renamed when it is done, so that a run that was killed goes on with what is done.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.kept import read_preferences
from tasks.trajectory import Trajectory, read_trajectories
from text import read_json_lines
from training.load import load_policy
from training.pairs import NoPairs, Pairs, make_pairs
from training.policy import Policy
from training.recipe import Recipe, Variant


@dataclass(frozen=True)
class Job:
    """One stage of one run."""

    stage: str
    """Its kind: a key of training.run.STAGES."""
    seed: int = 0
    variant: Variant = field(default_factory=lambda: Variant(method="sweet"))
    samples: int = 0
    """Of best-of."""

    @property
    def name(self) -> str:
        """Its folder's."""
        if self.stage == "tiny":
            return "tiny"
        names = {
            "collect": "collect", "candidates": "candidates", "best-of": f"best-of-{self.samples}",
            "critic": self.variant.part("critic"), "ranked": self.variant.part("ranked"),
            "evaluate": f"evaluate-{self.variant.name}",
        }  # fmt: skip
        return f"seed-{self.seed}/{names.get(self.stage, self.variant.name)}"

    def of(self, stage: str) -> "Job":
        """The job of another stage, of the same seed and variant."""
        return replace(self, stage=stage, samples=0)


@dataclass(frozen=True)
class Workspace:
    """The folder of a run, and its recipe."""

    folder: Path
    recipe: Recipe

    def path(self, job: Job) -> Path:
        """A stage's folder, once it is made."""
        return self.folder / job.name

    @property
    def base(self) -> str:
        """The start policy's folder, or its name on the hub."""
        return str(self.folder / "tiny") if self.recipe.base == "tiny" else self.recipe.base

    def new_policy(self, seed: int) -> Policy:
        """The start policy with a new adapter."""
        return load_policy(self.base, loading=replace(self.recipe.loading, seed=seed))

    def start_policy(self) -> Policy:
        """The start policy, to sample from."""
        return load_policy(self.base, loading=self.recipe.loading, merged=True)

    def collected(self, job: Job) -> list[Trajectory]:
        """The scored trajectories of the job's seed, of its share of the tasks. A wish without a reference teaches nothing, and
        neither does a dialogue in which the person gave code away.
        """
        found = read_trajectories(self.path(job.of("collect")) / "trajectories.jsonl")
        rows = [t for t in found if t.score is not None and not t.leaks]
        tasks = list(dict.fromkeys(t.task for t in rows))
        kept = set(tasks[: max(1, round(job.variant.fraction * len(tasks)))])
        return [t for t in rows if t.task in kept]

    def pairs(self, trajectories: Sequence[Trajectory], with_task: bool = False) -> Pairs:
        """Pairs of trajectories by the recipe's rule, and a person's choices; `with_task`: of those that have a reference.

        Raises NoPairs.
        """
        chosen = list(read_preferences(Path(self.recipe.preferences))) if self.recipe.preferences else []
        usable = [pair for pair in chosen if pair[0].task or not with_task]
        try:
            made = make_pairs(trajectories, self.recipe.pairing, self.recipe.margin)
        except NoPairs:
            if not usable:
                raise
            made = Pairs([], {})
        left_out = {"choices about a wish without a reference": len(chosen) - len(usable)} if chosen else {}
        return Pairs([*made.pairs, *usable], {**made.left_out, **left_out})


@dataclass(frozen=True)
class Stage:
    """How a kind of stage is made."""

    name: str
    make: Callable[[Workspace, Job, Path], None]
    """Fills the folder that it is given."""
    needs: tuple[str, ...]
    """Kinds of stages that have to be there before; `start`: the start policy, `policy`: that of the variant's method."""


def finish_policy(
    policy: Policy, part: Path, history: list[dict[str, float]], left_out: dict[str, int],
    measured: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write the adapter, what was measured, and what was left out."""
    policy.model.save_pretrained(part)
    write_rows(part / "history.jsonl", history)
    write_result(part, {"left_out": left_out, **({"validation": measured} if measured else {})})


def write_result(part: Path, values: dict[str, Any]) -> None:
    """A stage's result."""
    (part / "result.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_rows(path: Path) -> list[Any]:
    """JSON lines."""
    return [row for _, row in read_json_lines(path)]


def mean(values: Sequence[float]) -> dict[str, float | None]:
    """The mean, None of nothing, and of how many."""
    return {"mean": sum(values) / len(values) if values else None, "n": len(values)}


def first_of_each_task(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The first dialogue of each task."""
    found: dict[str, Trajectory] = {}
    for trajectory in rows:
        found.setdefault(trajectory.task, trajectory)
    return list(found.values())
