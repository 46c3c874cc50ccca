"""The sandbox measured: programs a minute on each back end, plain and with endless loops among them, and the attack suite.

    python -m evaluation sandbox [--programs 8000] [--backends bubblewrap landlock wasm]

Every figure of one run comes from the same machine in the same minutes: read the ratios.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.report import print_table
from intervals import format_interval, interval
from sandbox.attacks import ATTACKS, open_decoy, run_attack
from sandbox.choose import STRONGEST_FIRST, open_sandbox
from sandbox.outcome import SandboxUnavailable
from sandbox.python import Sandbox
from settings import Settings

PROGRAM = """
def f(x):
    total = 0
    for i in range(50):
        total += i * x
    return {"total": total, "items": list(range(x % 5))}
"""
CALLS = [f"f({n})" for n in range(10)]
LOOP = "def f(x):\n    while True: pass\n"
LOOPS_EVERY = 20  # 5 %
SLOWER = 8  # how many times fewer programs go to subprocess.run,
LOOPS_SLOWER = 4  # and to a sandbox with loops among them
ROOT = Path(__file__).parent.parent


def per_minute(run: Callable[[int], Any], programs: int, workers: int) -> float:
    """Programs a minute, `workers` at a time."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, range(programs)))
    return 60 * programs / (time.perf_counter() - begun)


def run_plain(number: int) -> None:
    """The same program in a Python of its own, unprotected: what there is without a sandbox."""
    source = PROGRAM + "".join(f"print({call})\n" for call in CALLS)
    subprocess.run([sys.executable, "-c", source], check=True, capture_output=True)  # noqa: S603 (our own program)


def run_same(number: int) -> None:
    """The same program with the same typed answers, in a Python of its own, unprotected."""
    source = f"import sys; from sandbox import guest; guest.run({PROGRAM!r}, {CALLS!r}, 0, 4000, sys.stdout.write)"
    subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, cwd=ROOT)  # noqa: S603


def run_small(sandbox: Sandbox, number: int = 0) -> None:
    """A small program of ten calls."""
    outcome = sandbox.run(PROGRAM, CALLS)
    if outcome.exit_reason != "done":
        raise AssertionError(f"a right program ended as {outcome.exit_reason}")


def run_mixed(sandbox: Sandbox, number: int) -> None:
    """The same, but for an endless loop now and then."""
    if number % LOOPS_EVERY:
        run_small(sandbox, number)
    elif sandbox.run(LOOP, CALLS).exit_reason != "cpu":
        raise AssertionError("an endless loop was not stopped for its CPU time")


def measure_speeds(boxes: dict[str, Sandbox], programs: int, rounds: int, workers: int) -> dict[str, list[float]]:
    """Programs a minute in each round. A round takes all in turn, so that the machine's slow minutes fall on all alike."""
    some = max(LOOPS_EVERY, programs // rounds)
    few = max(2 * workers, some // SLOWER)
    mixed = max(LOOPS_EVERY, some // LOOPS_SLOWER)
    measured: dict[str, list[float]] = defaultdict(list)
    for box in boxes.values():
        run_small(box)  # its workers are started at the first
    for _ in tqdm(range(rounds), desc="speed", disable=None):
        measured["plain"].append(per_minute(run_plain, few, workers))
        measured["same"].append(per_minute(run_same, few, workers))
        for kind, box in boxes.items():
            measured[kind].append(per_minute(partial(run_small, box), some, workers))
            measured[f"{kind}, loops"].append(per_minute(partial(run_mixed, box), mixed, workers))
    return measured


def measure_attacks(sandbox: Sandbox) -> tuple[Counter[str], list[str]]:
    """Attacks that failed, by group, and those that succeeded, with how."""
    held: Counter[str] = Counter()
    won = []
    with open_decoy() as stage:
        for attack in tqdm(ATTACKS, desc=f"attacks on {sandbox.kind}", disable=None):
            if how := run_attack(attack, sandbox, stage):
                won.append(f"{attack.group}/{attack.name}: {how}")
            else:
                held[attack.group] += 1
    return held, won


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--programs", type=int, default=8_000, help="programs in each timing, over all rounds")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backends", nargs="+", choices=STRONGEST_FIRST, default=list(STRONGEST_FIRST))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each back end that this machine allows, and name those that it does not."""
    attacks: dict[str, Any] = {}
    absent: dict[str, str] = {}
    boxes: dict[str, Sandbox] = {}
    with ExitStack() as stack:
        for kind in arguments.backends:
            try:
                boxes[kind] = stack.enter_context(open_sandbox(Settings(), kind, arguments.workers))
            except SandboxUnavailable as error:
                absent[kind] = str(error)
        measured = measure_speeds(boxes, arguments.programs, arguments.rounds, arguments.workers)
        for kind, box in boxes.items():
            held, won = measure_attacks(box)
            attacks[kind] = {"held": dict(held), "won": won}
    speeds = {
        name: {
            "per_minute": interval(values),
            **{f"over_{base}": interval(_ratios(values, measured[base])) for base in ("plain", "same")},
        }
        for name, values in measured.items()
    }
    names = {"plain": "subprocess.run, prints", "same": "subprocess.run, the same answers"}
    print_table(
        f"Programs of {len(CALLS)} calls a minute, {arguments.workers} at a time, mean of {arguments.rounds} rounds [95 %]",
        ["", "programs a minute", "× subprocess.run", "× the same answers"],
        [[names.get(name, name), *(format_interval(value, 1) for value in s.values())] for name, s in speeds.items()],
    )
    groups = Counter(a.group for a in ATTACKS)
    print_table(
        f"Attacks that failed, of {len(ATTACKS)}",
        ["group", "attacks", *attacks],
        [[g, n, *(attacks[k]["held"].get(g, 0) for k in attacks)] for g, n in groups.items()],
    )
    for kind, table in attacks.items():
        print(f"{kind}: " + ("; ".join(table["won"]) or "no attack succeeded"))
    for kind, why in absent.items():
        print(f"{kind} is not to be had here: {why}")
    return {"speeds": speeds, "rounds": measured, "attacks": attacks, "absent": absent}


def _ratios(values: list[float], base: list[float]) -> list[float]:
    return [value / other for value, other in zip(values, base, strict=True)]
