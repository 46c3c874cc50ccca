"""A recipe: everything that a run's numbers depend on, as one small JSON file. What it leaves out has its default.

Every method may have as many replies generated for its training (`replies`): a dialogue's turns count, and so do candidates.

Departures: (1) the demonstration's defaults weigh the likelihood of what is chosen with 1 in the house's actor; the paper has 0.01.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from tasks.families import FAMILIES
from tasks.kept import read_preferences
from tasks.lookup import find_task, store_file
from tasks.trajectory import read_trajectories
from training.config import (
    FAMILIES_KNOWN,
    ROWS,
    STRICT,
    CandidateConfig,
    LoadConfig,
    PreferenceConfig,
    RolloutConfig,
    Row,
    TinyConfig,
    TrainConfig,
)
from training.home import home

HELD_OUT_FROM = 200_000  # no task from there on was looked at before the comparison was fixed
TEST_SETS = ("held_out", "new_families", "new_phrasing")


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
        "own-backend/train", "own-backend/test", "own-backend/rephrased", "own-frontend/train", "own-frontend/test",
        "own-frontend/rephrased",
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

    name_of_row: str
    """A key of training.config.ROWS."""
    replies: int = 0
    """That are generated for it, if fewer than the recipe's most."""

    @property
    def row(self) -> Row:
        """What it is."""
        return ROWS[self.name_of_row]

    @property
    def name(self) -> str:
        return self.part(self.name_of_row)

    def part(self, what: str) -> str:
        """Name of one of its stages."""
        return f"{what}-{self.replies}" if self.replies else what

    @property
    def label(self) -> str:
        """Of its line."""
        return f"{self.row.label}, {self.replies:,} replies" if self.replies else self.row.label


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A run. Every field has a default: the demonstration on two cores."""

    __pydantic_config__ = STRICT

    base: str = "tiny"
    """`tiny`, made from scratch; or a model's folder or name on the hub."""
    tiny: TinyConfig = field(default_factory=TinyConfig)
    loading: LoadConfig = field(default_factory=lambda: LoadConfig(rank=4, alpha=8))
    train: Tasks = field(default_factory=Tasks)
    """Of the first seed; each seed has as many others."""
    held_out: Tasks = field(default_factory=lambda: Tasks(split="own-backend/test", count=300, first=HELD_OUT_FROM))
    new_families: Tasks = field(
        default_factory=lambda: Tasks(
            split="own-backend/test", count=90, first=HELD_OUT_FROM, first_family=FAMILIES_KNOWN, families=9
        )
    )
    """Measured on too, and reported apart, as is `new_phrasing`: functions of which the start policy has read nothing, though some
    of their decisions, such as how to round, it knows from others, with another noun."""
    new_phrasing: Tasks = field(
        default_factory=lambda: Tasks(split="own-backend/rephrased", count=90, first=HELD_OUT_FROM)
    )
    """Known functions, in sentences that the start policy has not read."""
    replies: Annotated[tuple[int, ...], Field(min_length=1)] = (3_000,)
    """That may be generated for the training of each method, fewest first; the most is the table's, the others are its curve."""
    trajectories: str = ""
    """A file of trajectories to learn from, of any origin, instead of dialogues of the start policy about `train`."""
    preferences: str = ""
    """A file of choices between two trajectories, as the page Collaborate keeps them: pairs beside those that scores make."""
    rollouts: RolloutConfig = field(default_factory=lambda: RolloutConfig(max_turns=8, most=120, group=250, rows=250))
    pairing: Literal["released", "margin"] = "released"
    margin: float = 0.1
    validation: float = 0.15
    """Share of the collected tasks that the critic is measured on, and not trained."""
    rft: TrainConfig = field(default_factory=lambda: TrainConfig(lr=1e-2, epochs=6, batch=16, micro_batch=16))
    mtdpo: PreferenceConfig = field(
        default_factory=lambda: PreferenceConfig(beta=0.3, nll=0.0, fitting=TrainConfig(lr=1e-3, epochs=2))
    )
    magnet: PreferenceConfig = field(
        default_factory=lambda: PreferenceConfig(beta=0.3, nll=1.0, fitting=TrainConfig(lr=2e-3, epochs=6))
    )
    critic: PreferenceConfig = field(
        default_factory=lambda: PreferenceConfig(
            beta=1.0, nll=0.0, fitting=TrainConfig(lr=5e-3, epochs=1, batch=16, micro_batch=16)
        )
    )
    candidates: CandidateConfig = field(default_factory=lambda: CandidateConfig(micro_batch=128))
    actor: PreferenceConfig = field(
        default_factory=lambda: PreferenceConfig(
            beta=1.0, nll=1.0, fitting=TrainConfig(lr=2e-3, epochs=2, batch=16, micro_batch=16)
        )
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    greedy: bool = False
    """Whether held-out tasks are also worked on at temperature 0."""
    rows: tuple[str, ...] = ("zero_shot", "rft", "mtdpo", "magnet", "sweet_published", "sweet_house")
    """The table's lines: keys of training.config.ROWS."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By row: the values that it has instead, by field such as `critic.fitting.lr`; `python -m training tune` finds them."""
    best_of: tuple[int, ...] = ()
    """Numbers of candidates of which the critic takes the best at each turn, on held-out tasks."""
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
                given = {"new_families": {"count": 0}, "new_phrasing": {"count": 0}, **given}
            recipe: Recipe = TypeAdapter(Recipe).validate_python(_over(json.loads(Recipe().to_json()), given))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{where}: {'.'.join(map(str, first['loc'])) or 'the recipe'}: {first['msg']}.") from error
        for place, names in (("rows", recipe.rows), ("settings", tuple(recipe.settings))):
            if unknown := [name for name in names if name not in ROWS]:
                raise ValueError(f"{where}: {place}: there is no {unknown[0]!r}: use {', '.join(ROWS)}.")
        for name in recipe.settings:
            recipe.for_row(name)
        return recipe

    def for_row(self, name: str) -> "Recipe":
        """The recipe as a row has it. Raises ValueError, naming the field."""
        setting = self.settings.get(name)
        if not setting:
            return self
        table = {**json.loads(self.to_json()), "settings": {}}
        for path, value in setting.items():
            *outer, last = path.split(".")
            part = table
            for step in outer:
                part = part.get(step, {})
            if last not in part:
                raise ValueError(f"settings.{name}: a recipe has no field {path!r}.")
            part[last] = value
        return Recipe.from_json(json.dumps(table), f"settings.{name}")

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
        sets = [getattr(self, name) for name in TEST_SETS if getattr(self, name).count]
        files = self.trajectories or self.preferences or self.train.file or any(tasks.file for tasks in sets)
        if not files and all(tasks.split != self.train.split for tasks in sets):
            return
        measured = [find_task(id, home()) for tasks in sets for id in tasks.ids()]
        descriptions = {task.description for task in measured}
        learnt = list(read_trajectories(Path(self.trajectories))) if self.trajectories else []
        for pair in read_preferences(Path(self.preferences)) if self.preferences else ():
            learnt += pair
        both = [row.task for row in learnt if row.description in descriptions]
        if not self.trajectories:
            programs = {(task.description, task.ground_truth) for task in measured}
            train = (find_task(id, home()) for seed in self.seeds for id in self.train_of(seed))
            both += [t.task_id for t in train if (t.description, t.ground_truth) in programs]
        if both:
            raise ValueError(f"What is measured has tasks that are learnt from, such as {both[0]}: choose others.")

    def train_of(self, seed: int) -> list[str]:
        """The training tasks of a seed; of a file, the same for all."""
        if self.train.file:
            return self.train.ids()
        return replace(self.train, first=self.train.first + seed * self.train.count).ids()

    def test_sets(self) -> dict[str, list[str]]:
        """The ids of each set of tasks that is measured on: new values in known families, new families, new phrasing. Of tasks with
        one and the same program the first is in it.
        """
        sets = {
            name: {find_task(id, home()).ground_truth: id for id in reversed(getattr(self, name).ids())}
            for name in TEST_SETS
        }
        return {name: [*found.values()][::-1] for name, found in sets.items() if found}

    def variants(self) -> Iterator[Variant]:
        """The lines of the table."""
        for name in self.rows:
            yield Variant(name_of_row=name)
        for replies in sorted(self.replies)[:-1]:
            for name in self.rows:
                if name != "zero_shot":
                    yield Variant(name_of_row=name, replies=replies)
