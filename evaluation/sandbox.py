"""The sandbox measured: programs a minute on each back end, plain and with endless loops among them, and the attack suite.

    python -m evaluation sandbox [--programs 2000] [--backends bubblewrap landlock wasm]

Every figure of one run comes from the same machine in the same minutes: read the ratios.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evaluation.report import print_table, write_json
from sandbox.attacks import ATTACKS, open_stage, strike
from sandbox.python import STRONGEST_FIRST, Sandbox, SandboxUnavailable, open_sandbox

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
ROUNDS = 3
ROOT = Path(__file__).parent.parent


def per_minute(run: Callable[[int], Any], programs: int, workers: int) -> float:
    """Programs a minute, `workers` at a time."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(tqdm(pool.map(run, range(programs)), total=programs, leave=False, disable=None))
    return 60 * programs / (time.perf_counter() - begun)


def run_plain(number: int) -> None:
    """The same program in a Python of its own, unprotected: what there is without a sandbox."""
    source = PROGRAM + "".join(f"print({call})\n" for call in CALLS)
    subprocess.run([sys.executable, "-c", source], check=True, capture_output=True)  # noqa: S603 (our own program)


def run_same(number: int) -> None:
    """The same program with the same typed answers, in a Python of its own, unprotected."""
    source = f"import sys; from sandbox import guest; guest.run({PROGRAM!r}, {CALLS!r}, 0, 4000, sys.stdout.write)"
    subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, cwd=ROOT)  # noqa: S603


def measure_speed(sandbox: Sandbox, programs: int, workers: int) -> tuple[float, float]:
    """Programs a minute: small ones of ten calls, and the same with 5 % endless loops."""

    def small(number: int) -> None:
        outcome = sandbox.run(PROGRAM, CALLS)
        if outcome.why != "done":
            raise AssertionError(f"a right program ended as {outcome.why}")

    def mixed(number: int) -> None:
        if number % LOOPS_EVERY:
            small(number)
        elif sandbox.run(LOOP, CALLS).why != "cpu":
            raise AssertionError("an endless loop was not stopped for its CPU time")

    small(0)
    return per_minute(small, programs, workers), per_minute(mixed, max(LOOPS_EVERY, programs // 4), workers)


def measure_attacks(sandbox: Sandbox) -> tuple[Counter[str], list[str]]:
    """Attacks that failed, by group, and those that succeeded, with how."""
    held: Counter[str] = Counter()
    won = []
    with open_stage() as stage:
        for attack in tqdm(ATTACKS, desc=f"attacks on {sandbox.kind}", disable=None):
            if how := strike(attack, sandbox, stage):
                won.append(f"{attack.group}/{attack.name}: {how}")
            else:
                held[attack.group] += 1
    return held, won


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--programs", type=int, default=2_000, help="programs in each timing")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backends", nargs="+", choices=STRONGEST_FIRST, default=list(STRONGEST_FIRST))
    parser.add_argument("--out", type=Path, help="JSON file of the result")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each back end that this machine allows, and name those that it does not."""
    speeds: dict[str, Any] = {}
    attacks: dict[str, Any] = {}
    absent: dict[str, str] = {}
    fewer = max(20, arguments.programs // 20)
    plain, same = (per_minute(run, fewer, arguments.workers) for run in (run_plain, run_same))
    for kind in arguments.backends:
        try:
            with open_sandbox(kind, arguments.workers) as sandbox:
                rounds = [measure_speed(sandbox, arguments.programs, arguments.workers) for _ in range(ROUNDS)]
                held, won = measure_attacks(sandbox)
        except SandboxUnavailable as error:
            absent[kind] = str(error)
            continue
        small, mixed = (sorted(column)[ROUNDS // 2] for column in zip(*rounds, strict=True))
        speeds[kind] = {
            "small": small,
            "with_loops": mixed,
            "over_subprocess": small / plain,
            "over_same": small / same,
            "rounds": rounds,
        }
        attacks[kind] = {"held": dict(held), "won": won}
    print_table(
        f"Programs of {len(CALLS)} calls a minute, {arguments.workers} at a time, median of {ROUNDS} rounds",
        ["back end", "small", "5 % endless loops", "× subprocess.run", "× the same answers"],
        [
            *[
                [
                    k,
                    f"{s['small']:,.0f}",
                    f"{s['with_loops']:,.0f}",
                    f"{s['over_subprocess']:.1f}",
                    f"{s['over_same']:.1f}",
                ]
                for k, s in speeds.items()
            ],
            ["subprocess.run, prints", f"{plain:,.0f}", "–", "1.0", f"{plain / same:.1f}"],
            ["subprocess.run, the same answers", f"{same:,.0f}", "–", f"{same / plain:.1f}", "1.0"],
        ],
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
    result = {"subprocess": plain, "subprocess_same": same, "speeds": speeds, "attacks": attacks, "absent": absent}
    write_json(arguments.out, "sandbox", result)
    return result
