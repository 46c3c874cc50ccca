"""`python -m evaluation NAME`: run one benchmark; `--help` after a name says what it takes."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from evaluation.report import write_json
from models.refusals import ModelFailed
from sandbox.browser import RenderUnavailable
from sandbox.cdn import CdnMissing
from sandbox.outcome import SandboxUnavailable
from tasks.clip import ClipUnavailable

BENCHMARKS = (
    "answered after_eviction locomo msc openers nq_open nested_kv humanevalpack hotpotqa quixbugs lessons colbench "
    "colbench_file own_tasks sandbox results speed_memory speed_turn speed_colbench"
).split()
"""A file each, with `add_arguments` and `run`; `speed_memory` is the command `speed memory`."""


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="NAME")
    about_speed = "what things cost, each beside what else one could use, in one run: read the ratios"
    speeds = commands.add_parser("speed", help=about_speed, description=about_speed).add_subparsers(
        required=True, metavar="WHAT"
    )
    for name in BENCHMARKS:
        module = import_module(f"evaluation.{name}")
        described = (module.__doc__ or "").split("\n", 1)[0]
        group, words = (speeds, name.removeprefix("speed_")) if name.startswith("speed_") else (commands, name)
        command = group.add_parser(words.replace("_", "-"), help=described, description=described)
        module.add_arguments(command)
        out = Path("results") / f"{name.replace('_', '-')}.json"
        command.add_argument(
            "--out", type=Path, default=out, help="JSON file of the result; what else is kept stands beside it"
        )
        command.set_defaults(name=name, run=module.run)
    arguments = parser.parse_args()
    try:
        write_json(arguments.out, arguments.name, arguments.run(arguments))
    except (ValueError, ModelFailed, SandboxUnavailable, RenderUnavailable, CdnMissing, ClipUnavailable) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped. What is done is kept where the benchmark has --resume: go on with that.")


if __name__ == "__main__":
    main()
