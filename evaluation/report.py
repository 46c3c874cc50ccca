"""What every benchmark prints and keeps: a table, 95 % intervals, and a JSON file."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20260101
RESAMPLES = 2_000


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean with its 95 % bootstrap interval (percentiles of 2,000 resamples, seeded)."""
    if not len(values):
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    data = np.asarray(values, float)
    rows = np.random.default_rng(SEED).integers(0, len(data), (RESAMPLES, len(data)))
    low, high = np.percentile(data[rows].mean(axis=1), [2.5, 97.5])
    return {"mean": float(data.mean()), "low": float(low), "high": float(high), "n": len(data)}


def shown(value: dict[str, float]) -> str:
    """An interval as a table has it."""
    return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns, the first to the left and the others to the right."""
    cells = [[str(c) for c in row] for row in [headers, *rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(headers))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))))
        if not number:
            print("  ".join("-" * w for w in widths))


def write_json(out: Path | None, name: str, result: dict[str, Any]) -> None:
    """Keep a result with the time and machine it came from."""
    path = out or Path("results") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    whole = {"benchmark": name, "time": datetime.now(UTC).isoformat(timespec="seconds"), **machine, **result}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nWritten to {path}")
