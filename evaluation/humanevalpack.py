"""HumanEvalPack, buggy function to fix: pass@1 beside what Self-Refine, Reflexion and new tries make of it.

The scripted model repeats the buggy program, then gives the right one: both methods must go from 0 to 100 %, in two attempts.

    python -m evaluation humanevalpack --file humanevalpack_100.jsonl
    python -m evaluation humanevalpack --file humanevalpack_100.jsonl --model gpt-4.1-mini --feedback own --concurrency 8

`--feedback tests` shows the methods which hidden assertions fail, as a programmer with a test suite sees; `examples` only those
of the docstring; `own` has Reflexion write its own (Self-Refine then criticises itself). The score is always the hidden tests'.
"""

import argparse
from pathlib import Path
from typing import Any

from evaluation import fixing
from evaluation.report import chosen
from sandbox.choose import shared_sandbox
from settings import Settings
from tasks.humanevalpack import read_humanevalpack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--file", type=Path, required=True, help="HumanEvalPack, JSON lines")
    fixing.add_arguments(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score the file's own programs, then each method on each task."""
    tasks = read_humanevalpack(arguments.file)[chosen(arguments)]
    programs = fixing.check_programs(shared_sandbox(Settings()), tasks)
    print(f"The file's own programs under the hidden tests: {programs} of {len(tasks)}")
    return {"programs": programs, **fixing.mend(tasks, "HumanEvalPack fix", arguments)}
