"""The search of settings: as many tries for each row, on tasks of the train split, and every one written down."""

from pathlib import Path
from typing import Any

import pytest

from training.config import ROWS
from training.recipe import Recipe
from training.tune import FIRST_MEASURED, FIRST_TRAINED, OF_THE_PAPER, tries_of, tune


def test_each_row_has_as_many_tries_the_first_as_it_was() -> None:
    for row in ROWS:
        if row != "zero_shot":
            tries = tries_of(row, 6)
            assert (len(tries), tries[0]) == (6, {})
            assert tries == tries_of(row, 6)
            for setting in tries:
                Recipe(settings={row: setting}).for_row(row)
                assert not ROWS[row].published_pairs or not {*setting} & {*OF_THE_PAPER}


def test_a_search_takes_the_best_of_each_row_and_writes_down_every_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs go on where they were, as tests of them say; here each has another success."""
    tried: list[Recipe] = []

    def run(folder: Path, recipe: Recipe) -> dict[str, Any]:
        tried.append(recipe)
        mean = {1: 0.2, 2: 0.7, 3: 0.1, 4: 0.4}[len(tried)]
        return {"table": {recipe.rows[0]: {"success": {"mean": mean, "low": 0.0, "high": 1.0, "n": 150}}}}

    made: list[str] = []
    monkeypatch.setattr("training.tune.run", run)
    monkeypatch.setattr("training.tune.make", lambda folder, recipe, name: made.append(name))
    rows = ("zero_shot", "mtdpo", "sweet_published")
    best = tune(tmp_path, Recipe(rows=rows), 2, tmp_path / "tuning.md")
    assert made == ["seed-0/tiny", "seed-0/collect"], "once for all"
    assert [recipe.rows for recipe in tried] == [("mtdpo",)] * 2 + [("sweet_published",)] * 2
    assert {(r.held_out.split, r.held_out.first, r.train.first, r.new_families.count) for r in tried} == {
        ("own-backend/train", FIRST_MEASURED, FIRST_TRAINED, 0)
    }
    assert best.settings == {row: tries_of(row, 2)[1] for row in rows[1:]}
    assert best == Recipe.from_json((tmp_path / "recipe.json").read_text(), "r")
    told = (tmp_path / "tuning.md").read_text()
    assert (told.count("| mtdpo |"), told.count("| sweet_published |"), told.count("**")) == (2, 2, 4)
