"""docs/results.md is made of the files that benchmarks wrote."""

import argparse
from pathlib import Path

import pytest

from evaluation import results
from evaluation.report import write_json
from intervals import interval


def test_the_page_has_every_interval_with_its_command_and_note(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    ways = {
        "full": {"right": interval([1.0, 0.0]), "rouge": interval([0.5, 0.5]), "clip": interval([])},
        "memgpt": {"right": interval([1.0])},
    }
    spent = {
        "full": {"seconds": 60.0, "input_tokens": 1_500, "output_tokens": 20},
        "memgpt": {"seconds": 120.0, "unfinished": 2},
    }
    found = {
        "model": "small",
        "window": 4_096,
        "seed": 0,
        "spent": spent,
        "ways": ways,
        "memgpt minus": {"full": interval([0.25])},
    }
    write_json(folder / "talk.json", "msc", found)
    write_json(
        folder / "questions.json",
        "hotpotqa",
        {"model": "small", "exact": interval([1.0, 1.0]), "stops": {"answered": 2}},
    )
    (folder / "talk.txt").write_text("Most wrong answers name another city.\n")
    (folder / "about.txt").write_text("On two cores.\n")
    results.run(argparse.Namespace(folder=folder))
    page = (tmp_path / "results.md").read_text()
    for line in (
        "## talk",
        "model small, window 4096, seed 0; 20",
        ". All items together took 3 minutes, 1,500 tokens of prompts and 20 of replies. 2 replies never ended",
        "| ways | right | rouge | n |",
        "| full | 0.50 [0.00, 1.00] | 0.50 [0.50, 0.50] | 2 |",
        "| memgpt | 1.00 [1.00, 1.00] | – | 1 |",
        "| memgpt minus | full | n |",
        "|  | 0.25 [0.25, 0.25] | 1 |",
        "Most wrong answers name another city.",
        "|  | 1.00 [1.00, 1.00] | 2 |",
        "`python -m evaluation",
    ):
        assert line in page, line
    assert "answered" not in page
    assert page.index("On two cores.") < page.index("## questions")
    assert " 0 of replies" not in page
    assert "clip" not in page
    assert "nan" not in page
    assert page.index("## questions") < page.index("## talk")
    before = page
    results.run(argparse.Namespace(folder=folder))
    assert (tmp_path / "results.md").read_text() == before


def test_what_is_no_result_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no JSON file"):
        results.run(argparse.Namespace(folder=tmp_path))
    (tmp_path / "x.json").write_text('{"benchmark": "msc"}')
    with pytest.raises(ValueError, match=r"x\.json is not the result of a benchmark"):
        results.run(argparse.Namespace(folder=tmp_path))
