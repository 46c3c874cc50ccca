"""docs/results.md from the JSON files of measured runs: nothing in it is typed by hand but the notes beside the files.

    python -m evaluation results

`docs/results/NAME.json` is what a benchmark wrote with `--out`; `docs/results/NAME.txt`, if it is there, says in a line or two what
the transcripts show, and `about.txt` what holds for all of them.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from intervals import format_interval

FOLDER = Path("docs") / "results"
HEAD = """# Results with a real model

Written by `python -m evaluation results` from the files in [results](results); each has the command that made it. Means with 95 %
intervals (bootstrap), and how many items they are over. Where all n items agree the interval is a point: a rate that differs by up
to about 3.7 / n is not excluded by that.
"""
Intervals = dict[str, dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--folder", type=Path, default=FOLDER, help="the JSON files; the page stands beside the folder")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page. Raises ValueError where there is no result, or one that cannot be read."""
    files = sorted(arguments.folder.glob("*.json"))
    if not files:
        raise ValueError(
            f"{arguments.folder} has no JSON file: run a benchmark with --out {arguments.folder}/NAME.json."
        )
    page = arguments.folder.with_suffix(".md")
    about = arguments.folder / "about.txt"
    told = [about.read_text(encoding="utf-8").strip(), ""] if about.exists() else []
    page.write_text("\n".join([HEAD, *told, *(section(file) for file in files)]), encoding="utf-8")
    print(f"{len(files)} results in {page}")
    return {"page": str(page), "results": [file.stem for file in files]}


def section(file: Path) -> str:
    """The part of the page that one result makes. Raises ValueError."""
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        lines = [
            f"## {file.stem}",
            "",
            f"`{result['command']}`",
            "",
            f"{setting_of(result)}; {result['time'][:10]}.{cost(result)}",
            "",
        ]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{file} is not the result of a benchmark: {error!r}.") from None
    for title, rows in tables(result):
        lines += table(title, rows)
    note = file.with_suffix(".txt")
    return "\n".join([*lines, *([note.read_text(encoding="utf-8").strip(), ""] if note.exists() else [])])


def setting_of(result: dict[str, Any]) -> str:
    """What was run: the model, how it calls tools, and what else makes the figures what they are."""
    names = ("model", "agent", "protocol", "window", "storage", "feedback", "person", "seed")
    return ", ".join(f"{name} {result[name]}" for name in names if result.get(name) not in (None, "")) or str(
        result["benchmark"]
    )


def cost(result: dict[str, Any]) -> str:
    """Minutes and tokens of all items together, if the result tells."""
    parts = list(result.get("spent", {}).values())
    if not parts:
        return ""
    names = ("seconds", "input_tokens", "output_tokens", "unfinished")
    total = {name: sum(part.get(name, 0) for part in parts) for name in names}
    read, written = (f"{total[name]:,.0f}" for name in ("input_tokens", "output_tokens"))
    tokens = (
        f", {read} tokens of prompts and {written} of replies" if total["input_tokens"] else ""
    )  # not every server tells
    ended = f" {total['unfinished']} replies never ended, and count as no answer." if total["unfinished"] else ""
    return f" All items together took {total['seconds'] / 60:,.0f} minutes{tokens}.{ended}"


def tables(result: dict[str, Any], title: str = "") -> Iterator[tuple[str, dict[str, Intervals]]]:
    """(title, rows of intervals) of each table that stands in a result, from the outside in."""
    own = {name: value for name, value in result.items() if is_interval(value)}
    if own:
        yield title, {"": own}
    parts = {name: value for name, value in result.items() if isinstance(value, dict) and not is_interval(value)}
    for name, part in parts.items():
        rows = {key: intervals(value) for key, value in part.items() if isinstance(value, dict) and intervals(value)}
        if rows:
            yield name, rows
        else:
            yield from tables(part, name)


def intervals(value: dict[str, Any]) -> Intervals:
    """The intervals that stand directly in a value."""
    return {name: inner for name, inner in value.items() if is_interval(inner)}


def is_interval(value: Any) -> bool:
    """Whether it is what `intervals.interval` gives, of something."""
    return isinstance(value, dict) and {"mean", "low", "high", "n"} <= value.keys() and value["n"] > 0


def table(title: str, rows: dict[str, Intervals]) -> list[str]:
    """A Markdown table."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| {title} | {' | '.join(names)} | n |", f"|---|{'---|' * (len(names) + 1)}"]
    for key, row in rows.items():
        cells = [format_interval(row[name], 2) if name in row else "–" for name in names]
        lines.append(f"| {key} | {' | '.join(cells)} | {max(value['n'] for value in row.values())} |")
    return [*lines, ""]
