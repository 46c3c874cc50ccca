"""A recipe: everything that a run's numbers depend on, as one small JSON file. What it leaves out has its default."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tasks.book import find_task, keep_file
from tasks.families import FAMILIES
from tasks.trajectory import read_trajectories
from training.collect import Rollouts
from training.critic import FORMS, CriticSetting
from training.fit import Fitting
from training.mtdpo import Preference
from training.policy import Loading
from training.tiny import FAMILIES_KNOWN, Tiny

Method = Literal["zero_shot", "rft", "mtdpo", "sweet"]
METHODS: tuple[Method, ...] = ("zero_shot", "rft", "mtdpo", "sweet")
STRICT = ConfigDict(extra="forbid")


def _over(default: Any, given: Any) -> Any:
    """What is given, and the default for what it leaves out, at every depth."""
    if isinstance(default, dict) and isinstance(given, dict):
        if given.get("file"):
            default = {**default, "first": 0}  # which tasks of a split were not looked at says nothing of a file
        return {**default, **{key: _over(default.get(key), value) for key, value in given.items()}}
    return given


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Which tasks: of our own, or the rows of a file."""

    __pydantic_config__ = STRICT

    split: Literal["own-backend/train", "own-backend/test", "own-frontend/train", "own-frontend/test"] = (
        "own-backend/train"
    )
    file: str = ""
    """Tasks as JSON lines, such as public ColBench, instead of a split."""
    count: int = 60
    first: int = 0
    difficulties: tuple[int, ...] = (4, 5)
    """Hidden decisions, in turn."""
    families: int = FAMILIES_KNOWN
    """How many of the families of backend functions, from the first."""

    def ids(self) -> list[str]:
        """Their ids. Raises BadTask, OSError, ValueError if a file has none."""
        if self.file:
            kept = keep_file(Path(self.file), self.first + self.count)
            if not kept[self.first :]:
                raise ValueError(f"{self.file} has {len(kept)} tasks: there is none from number {self.first} on.")
            return kept[self.first :]
        return [
            f"{self.split}/{self.difficulties[n % len(self.difficulties)]}/{self._seed(n)}"
            for n in range(self.first, self.first + self.count)
        ]

    def _seed(self, number: int) -> int:
        """The seed of the n-th task of these families; families and difficulties run through all their combinations."""
        turn, family = divmod(number // len(self.difficulties), self.families)
        return len(FAMILIES) * (turn * len(self.difficulties) + number % len(self.difficulties)) + family


@dataclass(frozen=True, kw_only=True)
class CandidateSetting:
    """What the actor learns from (paper, section 4.2 and appendix)."""

    __pydantic_config__ = STRICT

    dialogues: float = 0.1
    """Share of the collected dialogues at whose turns the start policy is asked."""
    samples: int = 16
    draws: int = 4
    """Pairs of a turn."""
    margin: float = 0.2
    """Least difference in advantage, between replies of one kind; `plain` takes the paper's rule."""
    micro_batch: int = 8
    """Candidates that the critic reads at once."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One line of the table."""

    method: Method
    form: str = "default"
    """Of the critic."""
    fraction: float = 1.0
    """Of the collected tasks."""
    plain: bool = False
    """The actor with the paper's own pairs and weights, beside the recipe's."""

    @property
    def name(self) -> str:
        return self.part(self.method) + ("-plain" if self.plain else "")

    def part(self, what: str) -> str:
        """Name of one of its stages."""
        form = "" if self.form == "default" else f"-{self.form}"
        return f"{what}{form}" + (f"-{100 * self.fraction:g}" if self.fraction < 1 else "")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run. Every field has a default: the demonstration on two cores."""

    __pydantic_config__ = STRICT

    base: str = "tiny"
    """`tiny`, made from scratch; or a model's folder or name on the hub."""
    tiny: Tiny = field(default_factory=Tiny)
    loading: Loading = field(default_factory=lambda: Loading(rank=4, alpha=8))
    train: Tasks = field(default_factory=Tasks)
    held_out: Tasks = field(default_factory=lambda: Tasks(split="own-backend/test", count=500, first=1000))
    """The first 1,000 were looked at while the demonstration was made; its settings were chosen on tasks of the train split,
    as many for each method, from number 60,000 on."""
    samples: int = 4
    """Dialogues of each task."""
    trajectories: str = ""
    """A file of trajectories to learn from, of any origin, instead of dialogues of the start policy about `train`."""
    rollouts: Rollouts = field(default_factory=lambda: Rollouts(max_turns=7, most=120, group=250, rows=250))
    pairing: Literal["released", "margin"] = "released"
    margin: float = 0.1
    validation: float = 0.15
    """Share of the collected tasks that the critic is measured on, and not trained."""
    rft: Fitting = field(default_factory=lambda: Fitting(lr=1e-2, epochs=6, batch=16, micro_batch=16))
    mtdpo: Preference = field(default_factory=lambda: Preference(beta=0.3, nll=1.0, fitting=Fitting(lr=2e-3, epochs=6)))
    critic: CriticSetting = field(
        default_factory=lambda: CriticSetting(
            beta=1.0, nll=0.0, fitting=Fitting(lr=5e-3, epochs=1, batch=16, micro_batch=16)
        )
    )
    candidates: CandidateSetting = field(default_factory=lambda: CandidateSetting(dialogues=1.0, micro_batch=128))
    actor: Preference = field(
        default_factory=lambda: Preference(
            beta=1.0, nll=1.0, fitting=Fitting(lr=2e-3, epochs=2, batch=16, micro_batch=16)
        )
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    greedy: bool = False
    """Whether held-out tasks are also worked on at temperature 0."""
    ablations: tuple[str, ...] = ()
    """Forms of the critic beside the default, and `plain`, the actor with the paper's own pairs and weights."""
    best_of: tuple[int, ...] = ()
    """Numbers of candidates of which the critic takes the best at each turn, on held-out tasks."""
    fractions: tuple[float, ...] = ()
    """Shares of the data to train all methods on, beside all of it."""
    workers: int = 2
    """Stages at a time."""
    threads: int = 1
    """Of each."""

    @staticmethod
    def from_json(text: str, where: str) -> "Recipe":
        """Raises ValueError, naming the file and the field."""
        try:
            given = TypeAdapter(dict[str, Any]).validate_json(text)
            recipe: Recipe = TypeAdapter(Recipe).validate_python(_over(json.loads(Recipe().to_json()), given))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{where}: {'.'.join(map(str, first['loc'])) or 'the recipe'}: {first['msg']}.") from error
        unknown = [name for name in recipe.ablations if name not in FORMS and name != "plain"]
        if unknown:
            raise ValueError(f"{where}: ablations: there is no {unknown[0]!r}: use {', '.join([*FORMS, 'plain'])}.")
        return recipe

    def to_json(self) -> str:
        text: bytes = TypeAdapter(Recipe).dump_json(self, indent=1)
        return text.decode() + "\n"

    def check_held_out(self) -> None:
        """Raise ValueError if a task is both learnt from and measured on. Splits of our own share none."""
        if not (self.trajectories or self.train.file or self.held_out.file) and self.train.split != self.held_out.split:
            return
        held = {(t.description, t.ground_truth): t.task_id for t in map(find_task, self.held_out.ids())}
        if self.trajectories:
            learnt = [(row.task, row.description) for row in read_trajectories(Path(self.trajectories))]
            held_descriptions = {description: id for (description, _), id in held.items()}
            both = [id for id, description in learnt if description in held_descriptions]
        else:
            both = [t.task_id for t in map(find_task, self.train.ids()) if (t.description, t.ground_truth) in held]
        if both:
            raise ValueError(f"held_out has tasks that are learnt from, such as {both[0]}: choose others.")

    def variants(self) -> Iterator[Variant]:
        """The lines of the table."""
        for method in METHODS:
            yield Variant(method=method)
        for name in self.ablations:
            yield Variant(method="sweet", plain=True) if name == "plain" else Variant(method="sweet", form=name)
        for fraction in self.fractions:
            for method in METHODS[1:]:
                yield Variant(method=method, fraction=fraction)
