"""QuixBugs: how many buggy and how many right programs pass in the sandbox, some of which never end; and what mends them.

    python -m evaluation quixbugs --file quixbugs_31.jsonl [--longer]
    python -m evaluation quixbugs --file quixbugs_31.jsonl --model qwen2.5-coder-1.5b-instruct --feedback examples

Programs whose right version the sandbox's limits stop are not given to a model. `--feedback`: as for humanevalpack; the example is
the first case of each program.
"""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation import fixing
from evaluation.report import chosen, print_table
from sandbox.choose import shared_sandbox
from settings import Settings
from tasks.quixbugs import NEEDS_MORE, TOLERANCE, as_fix_task, passes, read_quixbugs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="QuixBugs, JSON lines")
    parser.add_argument(
        "--longer", action="store_true", help=f"more time and memory for {', '.join(NEEDS_MORE)}: minutes"
    )
    fixing.add_arguments(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run both versions of every program; with a model, have those mended that the sandbox can judge."""
    sandbox = shared_sandbox(Settings())
    right, buggy, failed = 0, 0, []
    tasks = read_quixbugs(arguments.file)[chosen(arguments)]
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
    result = {"programs": len(tasks), "right": right, "buggy": buggy, "stopped": failed, "sandbox": sandbox.report()}
    if arguments.model == fixing.SCRIPTED:
        return result
    usable = [as_fix_task(task) for task in tasks if task.name not in (*failed, *NEEDS_MORE)]
    return {**result, **fixing.mend(usable, "QuixBugs", arguments)}
