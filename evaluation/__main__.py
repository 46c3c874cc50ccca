"""`python -m evaluation NAME`: run one benchmark; `--help` after a name says what it takes."""

import argparse
import sys
from pathlib import Path

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
    speed_colbench,
    speed_memory,
    speed_turn,
)
from evaluation.report import write_json
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
    "speed memory": speed_memory,
    "speed turn": speed_turn,
    "speed colbench": speed_colbench,
}


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="NAME")
    about_speed = "what things cost, each beside what else one could use, in one run: read the ratios"
    speeds = commands.add_parser("speed", help=about_speed, description=about_speed).add_subparsers(
        required=True, metavar="WHAT"
    )
    for name, module in BENCHMARKS.items():
        group, _, last = name.rpartition(" ")
        description = (module.__doc__ or "").split("\n", 1)[0]
        command = (speeds if group else commands).add_parser(last, help=description, description=description)
        module.add_arguments(command)
        out = Path("results") / f"{name.replace(' ', '-')}.json"
        command.add_argument(
            "--out", type=Path, default=out, help="JSON file of the result; what else is kept stands beside it"
        )
        command.set_defaults(name=name, run=module.run)
    arguments = parser.parse_args()
    try:
        write_json(arguments.out, arguments.name, arguments.run(arguments))
    except (ValueError, ModelFailed, SandboxUnavailable, RenderUnavailable, CdnMissing, ClipUnavailable) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
