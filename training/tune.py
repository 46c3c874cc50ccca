"""Chooses the settings of each row on tasks of the train split alone, as many tries for each, and writes down every one.

    python -m training tune runs/tuning --tries 6 --to docs/tuning.md

Start policy and dialogues are made once; a try is a run of one row that shares them. A search that was killed goes on with the
tries that are done. What comes of it is `recipe.json` in the folder: the recipe with the best setting of each row, to be committed
before the held-out tasks are first looked at.
"""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from intervals import format_interval
from training.config import ROWS
from training.recipe import Recipe, Tasks
from training.run import make, plan, run

FIRST_TRAINED, FIRST_MEASURED = 60_000, 90_000
"""Tasks of the train split that no other run learns from or is measured on."""
MEASURED = 150  # tasks
SHARED = ("tiny", "collect")
"""Stages that all tries share."""
RATES = (3e-4, 1e-3, 2e-3, 5e-3, 1e-2)
SPACES: dict[str, dict[str, Sequence[Any]]] = {
    "rft": {"rft.lr": RATES, "rft.epochs": (2, 4, 6, 10)},
    "mtdpo": {"mtdpo.fitting.lr": RATES, "mtdpo.fitting.epochs": (1, 2, 4, 6), "mtdpo.beta": (0.03, 0.1, 0.3)},
    "magnet": {
        "magnet.fitting.lr": RATES, "magnet.fitting.epochs": (2, 4, 6), "magnet.beta": (0.1, 0.3, 1.0),
        "magnet.nll": (0.3, 1.0, 3.0),
    },
    "sweet": {
        "critic.fitting.lr": RATES, "critic.fitting.epochs": (1, 2, 4), "critic.beta": (0.1, 0.3, 1.0),
        "actor.fitting.lr": RATES, "actor.fitting.epochs": (1, 2, 4), "actor.beta": (0.1, 0.3, 1.0),
        "actor.nll": (0.01, 0.3, 1.0), "candidates.share": (0.25, 0.5, 0.75), "candidates.margin": (0.1, 0.3, 0.6),
    },
}  # fmt: skip
"""By kind of row: the values that are tried, by field of the recipe."""
OF_THE_PAPER = ("actor.beta", "actor.nll", "candidates.margin")
"""What rows with the paper's pairs have from there."""


def tries_of(row: str, count: int) -> list[dict[str, Any]]:
    """Settings to be tried, the recipe's own (nothing changed) first; the others at random, the same for ever."""
    kind = "magnet" if ROWS[row].likelihood else ROWS[row].method
    fixed = OF_THE_PAPER if ROWS[row].published_pairs else ()
    space, rng = (
        {field: values for field, values in SPACES[kind].items() if field not in fixed},
        random.Random(f"tune {row}"),
    )
    return [{}, *({field: rng.choice(values) for field, values in space.items()} for _ in range(count - 1))]


def tune(folder: Path, recipe: Recipe, count: int, to: Path) -> Recipe:
    """Try the settings of each row, write the table, and return the recipe with the best. Raises what a run raises."""
    base = replace(
        recipe, train=replace(recipe.train, first=FIRST_TRAINED), seeds=recipe.seeds[:1], best_of=(), greedy=False,
        held_out=Tasks(split=recipe.train.split, count=MEASURED, first=FIRST_MEASURED), new_families=Tasks(count=0),
        new_phrasing=Tasks(count=0), replies=(max(recipe.replies),),
    )  # fmt: skip
    for name, job in plan(base).items():  # what a stage needs stands before it
        if job.stage in SHARED:
            make(folder / "start", base, name)
    done: list[tuple[str, dict[str, Any], dict[str, float]]] = []
    tuned: dict[str, dict[str, Any]] = {}
    for row in [name for name in recipe.rows if name != "zero_shot"]:
        measured = []
        for number, setting in enumerate(tries_of(row, count)):
            result = run(shared(folder, f"{row}-{number}"), replace(base, rows=(row,), settings={row: setting}))
            measured.append((row, setting, result["table"][row]["success"]))
        done += measured
        tuned[row] = max(measured, key=lambda one: one[2]["mean"])[1]
        to.write_text(markdown(done, tuned, base), encoding="utf-8")
    best = replace(recipe, settings=tuned)
    (folder / "recipe.json").write_text(best.to_json(), encoding="utf-8")
    return best


def shared(folder: Path, name: str) -> Path:
    """A run's folder that has start policy and dialogues from the first one."""
    path = folder / name
    for seed in (folder / "start").glob("seed-*"):
        (path / seed.name).mkdir(parents=True, exist_ok=True)
        for stage in SHARED:
            if (seed / stage).is_dir() and not (path / seed.name / stage).exists():
                os.symlink((seed / stage).resolve(), path / seed.name / stage)
    return path


def markdown(
    done: Sequence[tuple[str, Mapping[str, Any], dict[str, float]]], tuned: Mapping[str, Any], base: Recipe
) -> str:
    """Every try, in order, the best of each row marked."""
    lines = [
        "# Settings that were tried",
        "",
        f"Written by `python -m training tune`: success on {base.held_out.count} tasks of the train split, one seed "
        f"({base.seeds[0]}), {max(base.replies):,} replies for training. As many tries for each row; the first is the recipe as "
        "it was. The best of each is bold.",
        "",
        "| row | setting | success |",
        "|---|---|---|",
    ]
    for row, setting, success in done:
        text = ", ".join(f"{field} {value:g}" for field, value in setting.items()) or "as it was"
        cell = format_interval(success, 3)
        lines.append(f"| {row} | {text} | {f'**{cell}**' if setting == tuned[row] else cell} |")
    return "\n".join(lines) + "\n"
