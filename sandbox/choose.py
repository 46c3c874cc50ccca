"""Chooses the back end that runs untrusted programs: the strongest that passes its self-test here.

The self-test is the most dangerous attacks of the suite, run on a back end before it is trusted.
"""

import atexit
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandbox.attacks import ESSENTIAL, open_decoy, run_attack
from sandbox.native import Backend, CannotRun, WorkerDied
from sandbox.outcome import Limits, Outcome, SandboxFailed, SandboxUnavailable
from sandbox.python import Sandbox
from settings import Settings

log = logging.getLogger(__name__)

STRONGEST_FIRST: tuple[Backend, ...] = ("bubblewrap", "landlock", "wasm")
PROGRAM = "import math\nFACTOR = 2\ndef double(x):\n    return FACTOR * x + math.floor(0.5)"


def choose_sandbox(settings: Settings, kind: str = "", workers: int = 0) -> Sandbox:
    """A sandbox that has passed its self-test: the one named, or with `auto` the strongest; empty: as the settings say.

    Raises SandboxUnavailable. A stronger one that was passed over is named in a warning and in every report.
    """
    kind = kind or settings.sandbox
    kinds = STRONGEST_FIRST if kind == "auto" else tuple(k for k in STRONGEST_FIRST if k == kind)
    if not kinds:
        raise SandboxUnavailable(f"There is no sandbox {kind!r}: use auto, {', '.join(STRONGEST_FIRST)}.")
    reasons: dict[str, str] = {}
    for candidate in kinds:
        sandbox = Sandbox(candidate, settings.folder / "sandbox", workers)
        try:
            reason = failed_self_test(sandbox)
        except (CannotRun, SandboxFailed) as error:
            reason = str(error)
        if not reason:
            sandbox.passed_over = reasons
            for name, failed in reasons.items():
                log.warning("The sandbox %s is not in force: %s. In force: %s.", name, failed.rstrip("."), candidate)
            return sandbox
        sandbox.close()
        reasons[candidate] = reason
    why = " ".join(f"{name}: {failed}" for name, failed in reasons.items())
    raise SandboxUnavailable(
        f"No untrusted program is run, since no sandbox is safe here. {why} Install bubblewrap, or set PALIMPSEST_SANDBOX=wasm."
    )


def failed_self_test(sandbox: Sandbox) -> str:
    """Why this sandbox is not to be trusted here; empty if it runs a plain program and every attack fails.

    Raises CannotRun, when the machine lacks what the back end needs.
    """
    try:
        answer = sandbox.run(PROGRAM, ["double(21)"]).answers[0]
    except (SandboxFailed, WorkerDied) as error:
        return f"it does not run: {error}"
    if not answer.equals(42):
        return f"a plain program gave {answer}"
    with open_decoy() as decoy:
        for attack in ESSENTIAL:
            if how := run_attack(attack, sandbox, decoy):
                return f"the attack {attack.group}/{attack.name} succeeded: {how}"
    return ""


@contextmanager
def open_sandbox(settings: Settings, kind: str = "", workers: int = 0) -> Iterator[Sandbox]:
    """`choose_sandbox`, and its workers ended afterwards."""
    sandbox = choose_sandbox(settings, kind, workers)
    try:
        yield sandbox
    finally:
        sandbox.close()


_shared: dict[tuple[str, int], Sandbox] = {}
_sharing = threading.Lock()


def shared_sandbox(settings: Settings) -> Sandbox:
    """The process's own sandbox, as the settings name it: opened on first use, ended with the process."""
    key = settings.sandbox, os.getpid()  # a forked process must not talk on its parent's sockets
    with _sharing:
        if key not in _shared:
            _shared[key] = choose_sandbox(settings)
            atexit.register(_shared[key].close)
        return _shared[key]


def run_python(code: str, calls: Sequence[str] = (), limits: Limits | None = None) -> Outcome:
    """`Sandbox.run` in the shared sandbox of the environment's settings, for scripts. Raises SandboxUnavailable, SandboxFailed."""
    return shared_sandbox(Settings()).run(code, calls, limits)
