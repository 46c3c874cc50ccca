"""Runs untrusted Python: `run_python(code, calls)` gives one answer per call, as plain data that the parent decoded.

outcome = run_python("def double(x): return 2 * x", ["double(4)", "double('a')"])
[a.value for a in outcome.answers]   # [8, "aa"]

What is right is never told to the process that runs the code: compare here, with `Answer.equals`.
"""

import atexit
import contextlib
import logging
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sandbox.frames import NO_ROOM, Bounds, pack_program
from sandbox.guest import MOST_BYTES, MOST_BYTES_OF_A_CALL
from sandbox.native import CannotRun, Kind, Worker, WorkerDied, start_native
from sandbox.values import Unreadable, Value, read_lines, read_value, same
from sandbox.wasm import build_component, start_wasm
from settings import Settings, current

log = logging.getLogger(__name__)

STRONGEST_FIRST: tuple[Kind, ...] = ("bubblewrap", "landlock", "wasm")
TRIES = 3
FRAME = 32  # bytes of a line beside its value
MOST_CODE = 1 << 20  # characters of a program with its calls
MEANINGS = {
    "bubblewrap": "bubblewrap, Landlock, seccomp and limits round a worker that forks once a program",
    "landlock": "Landlock, seccomp and limits round a worker that forks once a program; a known path's size and date can be seen",
    "wasm": "CPython in WebAssembly, a fresh instance a program, limited by a count of instructions",
}

Why = Literal["done", "failed", "cpu", "idle", "flood", "crash", "refused"]
"""How a program ended: `failed` = its module raised, `idle` = it slept, `flood` = it wrote too much, `refused` = too long."""


class SandboxUnavailable(RuntimeError):
    """No back end, or not the one asked for, passes its self-test here; the message says why, and what to do."""


class SandboxFailed(RuntimeError):
    """Workers died again and again under one program: a fault of the machine, never a verdict on the program."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one program may use, all its calls together. Raises ValueError, naming the field."""

    cpu_seconds: float = 0.5
    """CPU time in all. On wasm: instructions, 1e10 a second; CPython there takes about three times as many seconds."""
    idle_seconds: float = 2.0
    """Longest sleep in one piece. One that sleeps in bits has ten times this and its CPU time."""
    memory_mb: int = 512
    """Address space, the interpreter's own included: 30 MB, with NumPy preloaded 115."""
    output_characters: int = 4_000
    """How much of what it prints is kept."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("cpu_seconds", 0.01, 60.0),
            ("idle_seconds", 0.1, 60.0),
            ("memory_mb", 64, 4096),
            ("output_characters", 0, 100_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"Limits.{name}={getattr(self, name)!r} cannot work: use {least} to {most}.")


@dataclass(frozen=True)
class Answer:
    """What one call gave: a value, or the name and message of what went wrong."""

    value: Value = None
    error: str = ""
    """Empty for a value; else the exception's name, `not plain data`, or a `Why`."""
    message: str = ""
    line: int = 0
    """Where in the program the exception came from; 0 where that is not known."""
    arguments: list[Value] | None = None
    """The exception's own, if they are plain data."""

    @property
    def where(self) -> str:
        """The line, for a reader."""
        return f" (line {self.line})" if self.line else ""

    def equals(self, expected: Value) -> bool:
        """Whether it is a value equal to `expected` (sandbox.values.same)."""
        return not self.error and same(self.value, expected)


@dataclass(frozen=True)
class Outcome:
    """What became of one program."""

    answers: list[Answer]
    """One for each call, in their order."""
    why: Why
    error: str = ""
    """Of the module, where it raised: `Name: message`."""
    output: str = ""
    """The first of what it printed. Untrusted text."""
    loaded: bool = False
    """Whether its module ran to its end, at least once, before calls were made."""
    cpu_seconds: float = field(default=0.0, compare=False)
    backend: Kind = field(default="bubblewrap", compare=False)

    def feedback(self) -> str:
        """What a programmer would be told of the program's end; empty if it ended well."""
        told = {
            "failed": f"The program raised {self.error}",
            "cpu": "The program used up its CPU time: an endless loop, or too slow.",
            "idle": "The program slept too long.",
            "flood": "The program wrote too much.",
            "crash": "The program ended its own process.",
            "refused": f"The program is longer than {MOST_CODE} characters.",
        }
        return told.get(self.why, "")


class Sandbox:
    """Workers of one back end. Threads may share it; each program has a worker to itself while it runs."""

    def __init__(self, kind: Kind, workers: int = 0, preload: Sequence[str] = ()) -> None:
        self.kind: Kind = kind
        self.preload = tuple(preload)
        self.passed_over: dict[str, str] = {}
        """The stronger back ends that were not taken, and why."""
        self.restarts = 0
        self._component: Path | None = None
        self._free: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        self._all: list[Worker] = []
        self._lock = threading.Lock()
        self._opener = os.getpid()
        self._closed = False
        for _ in range(workers or os.cpu_count() or 1):
            self._free.put(None)  # started when it is first needed

    def run(self, code: str, calls: Sequence[str] = (), limits: Limits | None = None) -> Outcome:
        """Run `code` as a module, then evaluate each of `calls`, Python expressions, in it.

        A call that ends the process loses its own answer only: the rest are made in a new one, inside the same CPU budget.
        Raises SandboxFailed if three workers die under it, and once it is closed.
        """
        limits = limits or Limits()
        code, *calls = [str.__str__(text) for text in (code, *calls)]  # also of a subclass, such as a NumPy string
        size = len(code) + sum(map(len, calls))
        if size > MOST_CODE:
            return Outcome([Answer(error="refused")] * len(calls), "refused", backend=self.kind)
        try:
            "\n".join([code, *calls]).encode()
        except UnicodeEncodeError as error:
            lost = Answer(error="failed", message=str(error))
            return Outcome([lost] * len(calls), "failed", f"UnicodeEncodeError: {error}", backend=self.kind)
        if os.getpid() != self._opener:
            raise SandboxFailed("This sandbox is another process's: open one here.")
        worker = self._free.get()
        try:
            for attempt in range(TRIES):
                try:
                    worker = worker or self._start()
                    outcome, lasts = _run(worker, code, list(calls), limits, self.kind)
                except WorkerDied as error:
                    self._drop(worker)
                    worker = None
                    if self._closed:
                        raise SandboxFailed("The sandbox was closed while a program ran in it.") from error
                    log.warning("The sandbox's worker died (try %d of %d): %s", attempt + 1, TRIES, error)
                    continue
                if not lasts:
                    self._drop(worker)
                    worker = None
                return outcome
        except BaseException:  # an answer may be outstanding, and would be the next program's
            self._drop(worker)
            worker = None
            raise
        finally:
            self._free.put(worker)
        raise SandboxFailed(f"{TRIES} workers of the back end {self.kind} died under one program; it has no verdict.")

    def close(self) -> None:
        """End all workers, and what runs in them; in a forked process, nothing: they are its parent's."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, []
        for worker in workers:
            worker.close()

    def report(self) -> dict[str, Any]:
        """What is in force, for result files and pages."""
        return {
            "backend": self.kind,
            "meaning": MEANINGS[self.kind],
            "passed_over": self.passed_over,
            "limits": asdict(Limits()),
            "preload": list(self.preload),
            "worker_restarts": self.restarts,
        }

    def _start(self) -> Worker:
        if self._closed:
            raise SandboxFailed("This sandbox is closed: open another.")
        if self.kind == "wasm":
            self._component = self._component or build_component(self.preload)
            worker = start_wasm(self._component)
        else:
            worker = start_native(self.kind, self.preload)
        with self._lock:
            if not self._closed:
                self._all.append(worker)
                return worker
        worker.close()
        raise SandboxFailed("This sandbox was closed.")

    def _drop(self, worker: Worker | None) -> None:
        if worker is not None:
            worker.close()
            with self._lock:
                self.restarts += 1
                if worker in self._all:
                    self._all.remove(worker)


def _run(worker: Worker, code: str, calls: list[str], limits: Limits, kind: Kind) -> tuple[Outcome, bool]:
    """One program on one worker, and whether the worker can go on. A call that ended the process is passed over."""
    wall = 10 * (limits.idle_seconds + limits.cpu_seconds)
    most_bytes = 2 * MOST_BYTES + 12 * limits.output_characters + (FRAME + MOST_BYTES_OF_A_CALL) * (len(calls) + 2)
    room = {"R": MOST_BYTES, "E": MOST_BYTES}  # of all answers, also of processes that are begun anew
    answers: dict[int, Answer] = {}
    output, error, used, waited, start, lasts, loaded = "", "", 0.0, 0.0, 0, True, False
    why: Why = "done"
    while lasts:
        left = Bounds(limits.cpu_seconds - used, limits.idle_seconds, limits.memory_mb << 20, wall - waited)
        program = pack_program(code, calls, start, limits.output_characters)
        ending, raw = worker.run(left, program, most_bytes)
        lasts = not ending.last
        ended, ready = ending.why, False
        if not raw and ended == f"exit {NO_ROOM}":
            why, error = "failed", "MemoryError: its limit of memory is too small for it to be read"
        elif (not raw.startswith(b"+") and ended != "cpu") or ended == "signal 9":
            raise WorkerDied(f"a program was not begun, or killed by the machine ({ended})")
        used += ending.cpu
        waited += ending.waited
        for size, line in read_lines(raw[1:]):
            ready |= line[0] == "ready"
            loaded |= ready
            if line[0] == "output" and len(line) > 1:
                output += _printable(str(line[1]))
            elif line[0] == "failed" and len(line) > 2 and not ready:
                failed = _answer([0, "E", *line[1:]], size, room)
                why, error = "failed", f"{failed.error}: {failed.message}{failed.where}"
            elif type(line[0]) is int and start <= line[0] < len(calls) and line[0] not in answers:
                answers[line[0]] = _answer(line, size, room)
        if ended == "ended" and (why == "failed" or len(answers) == len(calls)):
            break
        why = _why(ended) if why == "done" else why
        under_way = next((n for n in range(start, len(calls)) if n not in answers), len(calls))
        if not ready or why != "crash" or under_way + 1 >= len(calls) or used >= limits.cpu_seconds or waited >= wall:
            break
        answers[under_way] = Answer(error="crash", message=ended)
        start, why = under_way + 1, "done"
    lost = Answer(error=why if why != "done" else "crash", message=error)
    outcome = [answers.get(n, lost) for n in range(len(calls))]
    if why == "done" and any(a.error == "crash" for a in outcome):
        why = "crash"
    return Outcome(outcome, why, error, output[: limits.output_characters], loaded, used, kind), lasts


def _why(ended: str) -> Why:
    if ended in ("cpu", "idle", "flood"):
        return ended  # type: ignore[return-value]
    return "crash"


def _answer(line: list[Any], size: int, room: dict[str, int]) -> Answer:
    """The answer that a line of this size gives. `room` holds the bytes that are left for values, and for errors."""
    kind = line[1] if len(line) > 1 and line[1] in ("R", "E") else "R"
    room[kind] -= max(0, size - FRAME - (MOST_BYTES_OF_A_CALL if kind == "E" else 0))
    if room[kind] < 0:
        return Answer(error="not plain data", message=f"more than {MOST_BYTES} bytes of answers")
    if line[1:2] == ["R"] and len(line) == 3:
        try:
            return Answer(read_value(line[2]))
        except Unreadable as error:
            return Answer(error="not plain data", message=_printable(str(error)))
    if line[1:2] == ["E"] and len(line) == 6:
        arguments = None
        with contextlib.suppress(Unreadable):
            arguments = read_value(line[5])
        name, message = _printable(str(line[2])), _printable(str(line[3]))
        number = line[4] if type(line[4]) is int else 0
        return Answer(
            None, name[:60] or "Exception", message[:400], number, arguments if type(arguments) is list else None
        )
    return Answer(error="not plain data", message="an answer that is not typed JSON")


def _printable(text: str) -> str:
    """Without halves of characters, which no file and no terminal takes."""
    return text.encode(errors="backslashreplace").decode()


def choose_sandbox(kind: str = "", workers: int = 0, preload: Sequence[str] = ()) -> Sandbox:
    """A sandbox that has passed its self-test: the one named, or with `auto` the strongest; empty: as the settings say.

    Raises SandboxUnavailable. A stronger one that was passed over is named in a warning and in every report.
    """
    from sandbox.selftest import broken  # it needs Sandbox

    kind = kind or Settings().sandbox
    kinds = STRONGEST_FIRST if kind == "auto" else tuple(k for k in STRONGEST_FIRST if k == kind)
    if not kinds:
        raise SandboxUnavailable(f"There is no sandbox {kind!r}: use auto, {', '.join(STRONGEST_FIRST)}.")
    reasons: dict[str, str] = {}
    for candidate in kinds:
        sandbox = Sandbox(candidate, workers, preload)
        try:
            reason = broken(sandbox)
        except (CannotRun, SandboxFailed) as error:
            reason = str(error)
        if not reason:
            sandbox.passed_over = reasons
            for name, why in reasons.items():
                log.warning("The sandbox %s is not in force: %s. In force: %s.", name, why.rstrip("."), candidate)
            return sandbox
        sandbox.close()
        reasons[candidate] = reason
    told = " ".join(f"{name}: {why}" for name, why in reasons.items())
    raise SandboxUnavailable(
        f"No untrusted program is run, since no sandbox is safe here. {told} Install bubblewrap, or set PALIMPSEST_SANDBOX=wasm."
    )


@contextmanager
def open_sandbox(kind: str = "", workers: int = 0, preload: Sequence[str] = ()) -> Iterator[Sandbox]:
    """`choose_sandbox`, and its workers ended afterwards."""
    sandbox = choose_sandbox(kind, workers, preload)
    try:
        yield sandbox
    finally:
        sandbox.close()


_shared: dict[tuple[str, int], Sandbox] = {}
_sharing = threading.Lock()


def shared_sandbox() -> Sandbox:
    """The process's own sandbox, as the settings name it: opened on first use, ended with the process."""
    key = current().sandbox, os.getpid()  # a forked process must not talk on its parent's sockets
    with _sharing:
        if key not in _shared:
            _shared[key] = choose_sandbox(key[0])
            atexit.register(_shared[key].close)
        return _shared[key]


def run_python(code: str, calls: Sequence[str] = (), limits: Limits | None = None) -> Outcome:
    """`Sandbox.run` in the process's own sandbox. Raises SandboxUnavailable and SandboxFailed."""
    return shared_sandbox().run(code, calls, limits)
