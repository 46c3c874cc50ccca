"""QuixBugs in the sandbox: how many buggy and how many right programs pass; some of the buggy ones never end.

python -m evaluation quixbugs --file quixbugs_31.jsonl [--longer]
"""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.report import print_table
from sandbox.choose import shared_sandbox
from settings import Settings
from tasks.quixbugs import NEEDS_MORE, TOLERANCE, passes, read_quixbugs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="QuixBugs, JSON lines")
    parser.add_argument(
        "--longer", action="store_true", help=f"more time and memory for {', '.join(NEEDS_MORE)}: minutes"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run both versions of every program."""
    sandbox = shared_sandbox(Settings())
    right, buggy, failed = 0, 0, []
    tasks = read_quixbugs(arguments.file)
    for task in tqdm(tasks, desc="programs", disable=None):
        limits = NEEDS_MORE.get(task.name) if arguments.longer else None
        buggy += passes(sandbox, task, task.buggy)
        if passes(sandbox, task, task.right, limits):
            right += 1
        else:
            failed.append(task.name)
    print_table(
        f"QuixBugs, sandbox: {sandbox.kind}",
        ["programs", "right pass", "buggy pass", "right but stopped", "with tolerance"],
        [[len(tasks), right, buggy, ", ".join(failed) or "–", ", ".join(TOLERANCE)]],
    )
    return {"programs": len(tasks), "right": right, "buggy": buggy, "stopped": failed, "sandbox": sandbox.report()}
