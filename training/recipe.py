"""A recipe: everything that a run's numbers depend on, as one small JSON file. What it leaves out has its default.

Departures: (1) the demonstration's defaults weigh the likelihood of what is chosen with 1, for every method; the paper has 0.01.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from tasks.families import FAMILIES
from tasks.kept import read_preferences
from tasks.lookup import find_task, store_file
from tasks.trajectory import read_trajectories
from training.config import (
    FAMILIES_KNOWN,
    FORMS,
    STRICT,
    CandidateConfig,
    LoadConfig,
    PreferenceConfig,
    RolloutConfig,
    TinyConfig,
    TrainConfig,
)
from training.home import home

Method = Literal["zero_shot", "rft", "mtdpo", "sweet"]
HELD_OUT_FROM = 1_000  # the tasks before were looked at while the demonstration was made
TEST_SETS = ("held_out", "new_families", "new_wording")
METHODS: tuple[Method, ...] = ("zero_shot", "rft", "mtdpo", "sweet")


def _over(default: Any, given: Any) -> Any:
    """What is given, and the default for what it leaves out, at every depth."""
    if isinstance(default, dict) and isinstance(given, dict):
        return {**default, **{key: _over(default.get(key), value) for key, value in given.items()}}
    return given


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Which tasks: of our own, or the rows of a file."""

    __pydantic_config__ = STRICT

    split: Literal[
        "own-backend/train", "own-backend/test", "own-backend/reworded", "own-frontend/train", "own-frontend/test",
        "own-frontend/reworded",
    ] = "own-backend/train"  # fmt: skip
    file: str = ""
    """Tasks as JSON lines, such as public ColBench, instead of a split."""
    count: int = 60
    first: int = 0
    difficulties: tuple[int, ...] = (4, 5)
    """Hidden decisions, in turn."""
    families: int = FAMILIES_KNOWN
    """How many of the families of backend functions."""
    first_family: int = 0
    """From which on."""

    def ids(self) -> list[str]:
        """Their ids. Raises BadTask, OSError, ValueError if a file has none."""
        if self.file:
            kept = store_file(Path(self.file), home(), self.first + self.count)
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
        drawn = turn * len(self.difficulties) + number % len(self.difficulties)
        return len(FAMILIES) * drawn + self.first_family + family


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One line of the table."""

    method: Method
    form: str = "house"
    """Of the critic (training.config.FORMS)."""
    fraction: float = 1.0
    """Of the collected tasks."""
    published_pairs: bool = False
    """Use the paper's pairing rule and weights for the actor, instead of the recipe's."""

    @property
    def name(self) -> str:
        return self.part(self.method) + ("-published-pairs" if self.published_pairs else "")

    def part(self, what: str) -> str:
        """Name of one of its stages."""
        form = "" if self.form == "house" else f"-{self.form}"
        return f"{what}{form}" + (f"-{100 * self.fraction:g}" if self.fraction < 1 else "")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run. Every field has a default: the demonstration on two cores."""

    __pydantic_config__ = STRICT

    base: str = "tiny"
    """`tiny`, made from scratch; or a model's folder or name on the hub."""
    tiny: TinyConfig = field(default_factory=TinyConfig)
    loading: LoadConfig = field(default_factory=lambda: LoadConfig(rank=4, alpha=8))
    train: Tasks = field(default_factory=Tasks)
    held_out: Tasks = field(default_factory=lambda: Tasks(split="own-backend/test", count=500, first=HELD_OUT_FROM))
    """The first 1,000 were looked at while the demonstration was made; its settings were chosen on tasks of the train split,
    as many for each method, from number 60,000 on."""
    new_families: Tasks = field(
        default_factory=lambda: Tasks(
            split="own-backend/test", count=90, first=HELD_OUT_FROM, first_family=FAMILIES_KNOWN, families=9
        )
    )
    """Measured on too, and reported apart, as is `new_wording`: functions of which the start policy has read nothing."""
    new_wording: Tasks = field(
        default_factory=lambda: Tasks(split="own-backend/reworded", count=90, first=HELD_OUT_FROM)
    )
    """Known functions, in sentences that the start policy has not read."""
    samples: int = 4
    """Dialogues of each task."""
    trajectories: str = ""
    """A file of trajectories to learn from, of any origin, instead of dialogues of the start policy about `train`."""
    preferences: str = ""
    """A file of choices between two trajectories, as the page Collaborate keeps them: pairs beside those that scores make."""
    rollouts: RolloutConfig = field(default_factory=lambda: RolloutConfig(max_turns=7, most=120, group=250, rows=250))
    pairing: Literal["released", "margin"] = "released"
    margin: float = 0.1
    validation: float = 0.15
    """Share of the collected tasks that the critic is measured on, and not trained."""
    rft: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-2, epochs=6, batch=16, micro_batch=16))
    mtdpo: PreferenceConfig = field(
        default_factory=lambda: PreferenceConfig(beta=0.3, nll=1.0, fitting=TrainConfig(lr=2e-3, epochs=6))
    )
    critic: PreferenceConfig = field(
        default_factory=lambda: PreferenceConfig(
            beta=1.0, nll=0.0, fitting=TrainConfig(lr=5e-3, epochs=1, batch=16, micro_batch=16)
        )
    )
    candidates: CandidateConfig = field(default_factory=lambda: CandidateConfig(dialogues=1.0, micro_batch=128))
    actor: PreferenceConfig = field(
        default_factory=lambda: PreferenceConfig(
            beta=1.0, nll=1.0, fitting=TrainConfig(lr=2e-3, epochs=2, batch=16, micro_batch=16)
        )
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    greedy: bool = False
    """Whether held-out tasks are also worked on at temperature 0."""
    ablations: tuple[str, ...] = ()
    """Forms of the critic beside the house's, and `published_pairs`, the actor with the paper's own pairs and weights."""
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
            for name in ("train", *TEST_SETS):  # from which task of a split on nobody looked says nothing of a file
                if isinstance(tasks := given.get(name), dict) and tasks.get("file"):
                    given[name] = {"first": 0, **tasks}
            if isinstance(tasks := given.get("held_out"), dict) and tasks.get("file"):
                given = {"new_families": {"count": 0}, "new_wording": {"count": 0}, **given}
            recipe: Recipe = TypeAdapter(Recipe).validate_python(_over(json.loads(Recipe().to_json()), given))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{where}: {'.'.join(map(str, first['loc'])) or 'the recipe'}: {first['msg']}.") from error
        unknown = [name for name in recipe.ablations if name not in FORMS and name != "published_pairs"]
        if unknown:
            raise ValueError(
                f"{where}: ablations: there is no {unknown[0]!r}: use {', '.join([*FORMS, 'published_pairs'])}."
            )
        return recipe

    def to_json(self) -> str:
        text: bytes = TypeAdapter(Recipe).dump_json(self, indent=1)
        return text.decode() + "\n"

    def check_held_out(self) -> None:
        """Raise ValueError if a task is both learnt from and measured on. Splits of our own share none."""
        new = self.new_families
        if new.count and not new.file and not self.train.file and new.first_family < self.train.families:
            raise ValueError(
                f"new_families begins with family {new.first_family}, which train has too (it has {self.train.families}): choose "
                'others, or leave them out with "new_families": {"count": 0}.'
            )
        files = self.trajectories or self.preferences or self.train.file or self.held_out.file
        if not files and self.train.split != self.held_out.split:
            return
        held_out = [find_task(id, home()) for id in self.held_out.ids()]
        descriptions = {task.description for task in held_out}
        learnt = list(read_trajectories(Path(self.trajectories))) if self.trajectories else []
        for pair in read_preferences(Path(self.preferences)) if self.preferences else ():
            learnt += pair
        both = [row.task for row in learnt if row.description in descriptions]
        if not self.trajectories:
            programs = {(task.description, task.ground_truth) for task in held_out}
            train = (find_task(id, home()) for id in self.train.ids())
            both += [t.task_id for t in train if (t.description, t.ground_truth) in programs]
        if both:
            raise ValueError(f"held_out has tasks that are learnt from, such as {both[0]}: choose others.")

    def test_sets(self) -> dict[str, list[str]]:
        """The ids of each set of tasks that is measured on: new values in known families, new families, new wording."""
        ids: dict[str, list[str]] = {name: getattr(self, name).ids() for name in TEST_SETS}
        return {name: found for name, found in ids.items() if found}

    def variants(self) -> Iterator[Variant]:
        """The lines of the table."""
        for method in METHODS:
            yield Variant(method=method)
        for name in self.ablations:
            pairs = name == "published_pairs"
            yield Variant(method="sweet", published_pairs=True) if pairs else Variant(method="sweet", form=name)
        for fraction in self.fractions:
            for method in METHODS[1:]:
                yield Variant(method=method, fraction=fraction)
