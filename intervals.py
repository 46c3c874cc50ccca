"""95 % intervals by the bootstrap: the one place where results get theirs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

SEED = 20260101
RESAMPLES = 10_000
AT_ONCE = 1_000  # resamples, so that memory is bounded
Values = npt.NDArray[np.float64]


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean with its 95 % interval (percentile bootstrap, seeded); of nothing, not a number."""
    data = np.asarray(values, float)
    if not data.size:
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    mean = float(data.mean())
    if (data == data[0]).all():  # scipy takes it for degenerate
        return {"mean": mean, "low": mean, "high": mean, "n": data.size}
    found = stats.bootstrap(
        (data,), np.mean, n_resamples=RESAMPLES, batch=AT_ONCE, method="percentile", rng=np.random.default_rng(SEED)
    ).confidence_interval
    return {"mean": mean, "low": float(found.low), "high": float(found.high), "n": data.size}


def crossed_interval(values: Values, seed: int = SEED) -> dict[str, float]:
    """Mean of values [seeds, tasks] with its 95 % interval; seeds and tasks are both resampled, together (Owen 2007).

    Tasks with a value that is not a number are left out.
    """
    values = values[:, ~np.isnan(values).any(axis=0)]
    if not values.size:
        return {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 0}
    rng = np.random.default_rng(seed)
    seeds, tasks = values.shape
    means: list[Any] = []
    for _ in range(RESAMPLES // AT_ONCE):
        drawn = values[rng.integers(0, seeds, (AT_ONCE, seeds))].mean(axis=1)  # [AT_ONCE, tasks]
        means.append(np.take_along_axis(drawn, rng.integers(0, tasks, (AT_ONCE, tasks)), axis=1).mean(axis=1))
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high), "n": int(values.size)}


def format_interval(value: dict[str, float], digits: int = 3) -> str:
    """An interval as a table has it."""
    return f"{value['mean']:,.{digits}f} [{value['low']:,.{digits}f}, {value['high']:,.{digits}f}]"
