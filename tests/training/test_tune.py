"""The search of settings: as many tries for each row, on tasks of the train split, and every one written down."""

import json
from dataclasses import replace
from pathlib import Path

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


def test_a_search_goes_on_where_it_was_and_writes_down_every_try(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tune.MEASURED", 3)
    rows = ("zero_shot", "mtdpo")
    best = tune(tmp_path / "search", replace(recipe, rows=rows), 2, tmp_path / "tuning.md")
    told = (tmp_path / "tuning.md").read_text()
    assert told.count("| mtdpo |") == 2
    assert "as it was" in told
    assert best == Recipe.from_json((tmp_path / "search" / "recipe.json").read_text(), "r")
    assert set(best.settings) == {"mtdpo"}
    made = json.loads((tmp_path / "search" / "mtdpo-1" / "recipe.json").read_text())
    assert (made["held_out"]["split"], made["held_out"]["first"]) == ("own-backend/train", FIRST_MEASURED)
    assert (made["train"]["first"], made["new_families"]["count"]) == (FIRST_TRAINED, 0)
    monkeypatch.setattr("training.run._fill", lambda *_: pytest.fail("a stage is made again"))
    assert tune(tmp_path / "search", replace(recipe, rows=rows), 2, tmp_path / "tuning.md") == best
    assert (tmp_path / "tuning.md").read_text() == told
