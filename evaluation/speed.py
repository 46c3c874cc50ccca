"""What memory operations and turns cost, each beside what else one could use, in one run.

    python -m evaluation speed memory [--points 10000 100000]     this store, QdrantClient(path=), sqlite-vec with FTS5
    python -m evaluation speed turn [--messages 10 100 1000 10000]  a turn, and that of a bare two-node LangGraph agent
    python -m evaluation speed colbench                           scoring of programs and pages, the graph's share of a turn

Times on a shared machine are noisy: read the ratios.
"""

import argparse
from pathlib import Path
from typing import Any

from evaluation.speed_colbench import run_colbench
from evaluation.speed_memory import run_memory
from evaluation.speed_turn import run_turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    what = parser.add_subparsers(required=True, metavar="WHAT")
    memory = what.add_parser("memory", help="memory operations beside other embedded stores")
    memory.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])
    memory.set_defaults(measure=run_memory)
    turn = what.add_parser("turn", help="CPU and checkpoint bytes of a turn as the conversation grows")
    turn.add_argument("--messages", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    turn.add_argument("--turns", type=int, default=120, help="turns measured at each length")
    turn.set_defaults(measure=run_turn)
    colbench = what.add_parser("colbench", help="scoring of programs and pages, and the graph's share of a turn")
    colbench.add_argument("--answers", type=int, default=1_500, help="programs in each round")
    colbench.add_argument("--pages", type=int, default=60, help="pages in each round")
    colbench.add_argument("--dialogues", type=int, default=60)
    colbench.set_defaults(measure=run_colbench)
    for command in (memory, turn, colbench):
        command.add_argument("--out", type=Path, help="JSON file of the result")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for."""
    result: dict[str, Any] = arguments.measure(arguments)
    return result
