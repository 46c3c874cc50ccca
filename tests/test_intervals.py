"""Intervals over seeds and tasks, against a plain loop."""

import random
from statistics import mean, quantiles

import numpy as np
import pytest

from intervals import crossed_interval


def plain(values: list[list[float]], resamples: int = 4_000) -> tuple[float, float]:
    """The crossed bootstrap as its definition reads."""
    draw = random.Random(5)
    means = []
    for _ in range(resamples):
        tasks = draw.choices(range(len(values[0])), k=len(values[0]))
        means.append(mean(seed[task] for seed in draw.choices(values, k=len(values)) for task in tasks))
    cuts = quantiles(means, n=40)
    return cuts[0], cuts[-1]


def test_seeds_and_tasks_are_resampled_together() -> None:
    draw = random.Random(3)
    values = [[float(draw.random() < share) for _ in range(30)] for share in (0.3, 0.5, 0.9)]
    found = crossed_interval(np.array(values))
    assert (found["low"], found["high"]) == pytest.approx(plain(values), abs=0.02)
    assert found["mean"] == pytest.approx(mean(map(mean, values)))
    assert found["n"] == 90
    assert crossed_interval(np.array(values)) == found


def test_what_differs_between_seeds_alone_or_tasks_alone_is_in_the_interval() -> None:
    seeds = crossed_interval(np.array([[0.0] * 200, [1.0] * 200]))
    assert (seeds["low"], seeds["high"]) == (0.0, 1.0)
    tasks = crossed_interval(np.array([[0.0, 1.0] * 100]))
    assert (tasks["low"], tasks["high"]) == pytest.approx((0.43, 0.57), abs=0.01)


def test_a_task_that_is_not_known_for_every_seed_is_left_out() -> None:
    found = crossed_interval(np.array([[1.0, np.nan, 0.0], [1.0, 0.0, 0.0]]))
    assert (found["mean"], found["n"]) == (0.5, 4)
    assert crossed_interval(np.array([[np.nan]])) == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 0}
