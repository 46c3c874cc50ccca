"""What every benchmark prints and keeps: a table, 95 % intervals, and a JSON file."""

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.chat import EndpointChat
from models.endpoint import open_model
from settings import Settings

ORACLE = "oracle"
"""In place of a model's name: the policy that knows the answers."""


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns, the first to the left and the others to the right."""
    cells = [[str(c) for c in row] for row in [headers, *rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(headers))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))))
        if not number:
            print("  ".join("-" * w for w in widths))


def protocol_of(model: str, settings: Settings) -> str:
    """How a model of this name was found to call tools; empty for the oracle."""
    found = None if model == ORACLE else open_model(model, settings)
    return (found.protocol or "") if isinstance(found, EndpointChat) else ""


def add_ways(parser: argparse.ArgumentParser, ways: Sequence[str]) -> None:
    """The options of a benchmark that asks the same questions in several ways."""
    parser.add_argument(
        "--model",
        default=ORACLE,
        help="a model at the endpoint of the settings; default: the one that knows the answers",
    )
    parser.add_argument("--window", type=int, default=4_096, help="tokens of the window")
    parser.add_argument("--ways", nargs="+", choices=ways, default=list(ways))
    parser.add_argument("--first", type=int, default=0, help="the first question of the file")
    parser.add_argument("--limit", type=int, help="so many questions only")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")


def chosen(arguments: argparse.Namespace) -> slice:
    """Which questions `--first` and `--limit` mean."""
    return slice(arguments.first, None if arguments.limit is None else arguments.first + arguments.limit)


class Rows:
    """Results by key, written as they come, so that a long run which was stopped can be resumed.

    The file stands beside the result, `out`; its first line holds the setting.
    Raises ValueError if a resumed run's setting is another.
    """

    def __init__(self, out: Path, setting: dict[str, Any], resume: bool) -> None:
        self.path = out.with_suffix(".rows.jsonl")
        self.done: dict[str, dict[str, Any]] = {}
        if resume and self.path.exists():
            whole = self.path.read_text(encoding="utf-8").rpartition("\n")[0]  # a line cut off by a kill does not count
            first, *lines = whole.split("\n")
            if json.loads(first or "{}") != setting:
                raise ValueError(
                    f"{self.path} is of another setting, {first}: run without --resume, or with that setting."
                )
            self.done = {row.pop("key"): row for row in map(json.loads, lines)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [json.dumps(setting), *(json.dumps({"key": k, **row}) for k, row in self.done.items())]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep one result."""
        self.done[key] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **row}) + "\n")


def write_json(path: Path, name: str, result: dict[str, Any]) -> None:
    """Keep a benchmark's result with the command, the time and the machine it came from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "benchmark": name,
        "command": shlex.join(["python", "-m", "evaluation", *sys.argv[1:]]),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    whole = {**made, **result}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nWritten to {path}")
