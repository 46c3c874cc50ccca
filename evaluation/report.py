"""What every benchmark prints and keeps: a table, 95 % intervals, and a JSON file."""

import argparse
import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_core.callbacks import get_usage_metadata_callback
from tqdm import tqdm

from intervals import interval
from models.chat import EndpointChat
from models.endpoint import open_model
from models.refusals import ContextOverflow, CutOff, ModelFailed
from nodes.memgpt.meter import added_up
from nodes.memgpt.state import Operation
from settings import Settings

ORACLE = "oracle"
"""In place of a model's name: the policy that knows the answers."""
UNAIDED = "memgpt_unaided"
"""The MemGPT agent without recall before thinking, which finds only what it searches: asked where it is named."""
AGENT_WAYS = ("memgpt", UNAIDED)
MOST_FAILURES = 10  # in a row that a model's endpoint did not finish
TOKENS = ("input_tokens", "output_tokens")

Row = dict[str, Any]


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns, the first to the left and the others to the right."""
    cells = [[str(c) for c in row] for row in [headers, *rows]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(headers))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        print("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))))
        if not number:
            print("  ".join("-" * w for w in widths))


def add_model(parser: argparse.ArgumentParser, default: str, about: str) -> None:
    """The options of a benchmark that asks a model many things."""
    parser.add_argument("--model", default=default, help=f"a model at the endpoint of the settings; default: {about}")
    parser.add_argument("--first", type=int, default=0, help="the first item of the file")
    parser.add_argument("--limit", type=int, help="so many items only")
    parser.add_argument("--seed", type=int, default=0, help="of what is chosen by chance")
    parser.add_argument("--concurrency", type=int, default=1, help="items at once")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")


def add_ways(parser: argparse.ArgumentParser, ways: Sequence[str]) -> None:
    """The options of a benchmark that asks the same questions in several ways."""
    add_model(parser, ORACLE, "the one that knows the answers")
    parser.add_argument("--window", type=int, default=4_096, help="tokens of the window")
    parser.add_argument("--ways", nargs="+", choices=ways, default=[w for w in ways if w != UNAIDED])


def chosen(arguments: argparse.Namespace) -> slice:
    """Which items `--first` and `--limit` mean."""
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
        part = self.path.with_suffix(".part")
        part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        part.replace(self.path)  # at once: a kill here loses nothing

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep one result, which has no field `key` of its own."""
        if "key" in row:
            raise ValueError(f"The row {key} has a field `key`, which the file needs for itself.")
        self.done[key] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **row}) + "\n")


def measured(work: Callable[[], Row]) -> Row:
    """What `work` gives, with its tokens and seconds. A reply that is never finished is no answer; raises other ModelFailed."""
    began = time.monotonic()
    with get_usage_metadata_callback() as usage:
        try:
            row = work()
        except (CutOff, ContextOverflow) as error:
            row = {"answer": "", "failed": str(error)}
    used: list[Mapping[str, Any]] = list(usage.usage_metadata.values())
    tokens = {name: sum(u[name] for u in used) for name in TOKENS}
    return {**row, **tokens, "seconds": round(time.monotonic() - began, 1)}


def work_off(
    rows: Rows, work: Mapping[str, Callable[[], Row]], concurrency: int, what: str, told: Callable[[], str] = str
) -> None:
    """Do what has no row yet, several at once, with the progress and the time left; `told`: what stands beside it.

    Raises ModelFailed in the end for what an endpoint did not finish: it is no row, so that `--resume` asks again.
    """
    left = {key: job for key, job in work.items() if key not in rows.done}
    failures: list[ModelFailed] = []
    in_a_row = 0
    with (
        ThreadPoolExecutor(concurrency) as pool,
        tqdm(total=len(work), initial=len(work) - len(left), desc=what, disable=None) as bar,
    ):
        jobs = {pool.submit(job): key for key, job in left.items()}
        try:
            for job in as_completed(jobs):
                try:
                    rows.add(jobs[job], job.result())
                    in_a_row = 0
                except ModelFailed as error:
                    failures.append(error)
                    in_a_row += 1
                    if in_a_row >= MOST_FAILURES:
                        break
                bar.update()
                bar.set_postfix_str(told())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if failures:
        raise ModelFailed(f"{len(failures)} of {what} are not finished: {failures[0]} Run it again with --resume.")


def protocol_of(model: str, settings: Settings, rows: Rows) -> str:
    """How a model of this name was found to call tools, now or before a run was resumed; empty for the oracle."""
    found = None if model == ORACLE else open_model(model, settings)
    protocol = (found.protocol or "") if isinstance(found, EndpointChat) else ""
    if protocol and "protocol" not in rows.done:
        rows.add("protocol", {"protocol": protocol})
    return str(rows.done.get("protocol", {}).get("protocol", ""))


def spent(rows: Iterable[Row]) -> Row:
    """Tokens and seconds of all rows together, and how many of them have no answer, since the reply never ended."""
    kept = list(rows)
    costs = {name: round(sum(row.get(name, 0) for row in kept), 1) for name in (*TOKENS, "seconds")}
    return {**costs, "unfinished": sum("failed" in row for row in kept)}


def all_operations(meters: Iterable[Mapping[str, Operation]]) -> dict[str, Operation]:
    """What many turns took together, by what was done."""
    parts = list(meters)
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: added_up(part[name] for part in parts if name in part) for name in names}


def means(rows: Sequence[Row], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Intervals of what of `names` stands in any of the rows."""
    return {
        name: interval([float(row[name]) for row in rows if name in row])
        for name in names
        if any(name in r for r in rows)
    }


def paired(left: Sequence[Row], right: Sequence[Row], name: str) -> dict[str, float]:
    """The interval of left − right on the same items."""
    return interval([float(a[name]) - float(b[name]) for a, b in zip(left, right, strict=True)])


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
