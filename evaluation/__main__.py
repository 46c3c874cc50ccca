"""`python -m evaluation NAME`: run one benchmark; `--help` after a name says what it takes."""

import argparse
import sys

from evaluation import (
    colbench,
    colbench_file,
    hotpotqa,
    humanevalpack,
    lessons,
    locomo,
    nested_kv,
    own_tasks,
    quixbugs,
    sandbox,
    speed,
)
from models.reply import ModelFailed
from sandbox.browser import RenderUnavailable
from sandbox.cdn import CdnMissing
from sandbox.outcome import SandboxUnavailable
from tasks.clip import ClipUnavailable

BENCHMARKS = {
    "locomo": locomo,
    "nested-kv": nested_kv,
    "humanevalpack": humanevalpack,
    "hotpotqa": hotpotqa,
    "quixbugs": quixbugs,
    "lessons": lessons,
    "colbench": colbench,
    "colbench-file": colbench_file,
    "own-tasks": own_tasks,
    "sandbox": sandbox,
    "speed": speed,
}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="NAME")
    for name, module in BENCHMARKS.items():
        description = (module.__doc__ or "").split("\n", 1)[0]
        command = commands.add_parser(name, help=description, description=description)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except (ValueError, ModelFailed, SandboxUnavailable, RenderUnavailable, CdnMissing, ClipUnavailable) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
