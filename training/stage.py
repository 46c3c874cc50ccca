"""What a stage is: a folder of a run that is made from others. Each stage's file declares its own, as STAGE.

A stage is made as NAME.part and renamed when it is done, so that a run that was killed goes on with what is done.
"""

import itertools
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
    variant: Variant = field(default_factory=lambda: Variant(name_of_row="sweet_house"))
    samples: int = 0
    """Of best-of."""

    @property
    def name(self) -> str:
        """Its folder's."""
        names = {"tiny": "tiny", "collect": "collect", "best-of": f"best-of-{self.samples}"}
        own = self.variant.name if self.stage == self.variant.row.method else f"{self.stage}-{self.variant.name}"
        return f"seed-{self.seed}/{names.get(self.stage, own)}"

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

    def recipe_of(self, job: Job) -> Recipe:
        """The recipe as the job's row has it."""
        return self.recipe.for_row(job.variant.name_of_row)

    def base(self, seed: int) -> str:
        """The folder of a seed's start policy, or its name on the hub."""
        return str(self.path(Job("tiny", seed))) if self.recipe.base == "tiny" else self.recipe.base

    def new_policy(self, seed: int) -> Policy:
        """The start policy with a new adapter."""
        return load_policy(self.base(seed), loading=replace(self.recipe.loading, seed=seed))

    def start_policy(self, seed: int) -> Policy:
        """The start policy, to sample from."""
        return load_policy(self.base(seed), loading=self.recipe.loading, merged=True)

    def allowed(self, job: Job) -> int:
        """Replies that may be generated for the job's method."""
        return job.variant.replies or max(self.recipe.replies)

    def candidates_allowed(self, job: Job) -> int:
        """Those that are candidates."""
        share = self.recipe_of(job).candidates.share
        return round(share * self.allowed(job)) if job.variant.row.method == "sweet" else 0

    def collected(self, job: Job) -> list[Trajectory]:
        """The scored trajectories of the job's seed, as many as its method may have generated; of a file, all.

        A wish without a reference teaches nothing, and neither does a dialogue in which the person gave code away.
        """
        found = list(read_trajectories(self.path(job.of("collect")) / "trajectories.jsonl"))
        if not self.recipe.trajectories:
            generated = itertools.accumulate(len(t.replies) for t in found)
            allowed = self.allowed(job) - self.candidates_allowed(job)
            found = [t for t, replies in zip(found, generated, strict=True) if replies <= allowed]
        return [t for t in found if t.score is not None and not t.leaks]

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
