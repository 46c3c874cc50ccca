"""Runs untrusted Python in workers of one back end: one answer per call, as plain data that the parent decoded.

with open_sandbox(Settings()) as sandbox:
    outcome = sandbox.run("def double(x): return 2 * x", ["double(4)", "double('a')"])
    [a.value for a in outcome.answers]   # [8, "aa"]

What is right is never told to the process that runs the code: compare here, with `Answer.equals`.
"""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox.guest import MOST_BYTES, MOST_BYTES_OF_A_CALL
from sandbox.native import Backend, Worker, WorkerDied, start_native
from sandbox.outcome import MOST_CODE, Answer, ExitReason, Limits, Outcome, SandboxFailed
from sandbox.values import Unreadable, read_lines, read_value
from sandbox.wasm import build_component, start_wasm
from sandbox.wire import NO_ROOM, Bounds, pack_program

log = logging.getLogger(__name__)

TRIES = 3
FRAME = 32  # bytes of a line beside its value
MEANINGS = {
    "bubblewrap": "bubblewrap, Landlock, seccomp and limits round a worker that forks once a program",
    "landlock": "Landlock, seccomp and limits round a worker that forks once a program; a known path's size and date can be seen",
    "wasm": "CPython in WebAssembly, a fresh instance a program, limited by a count of instructions",
}


class Sandbox:
    """Workers of one back end. Threads may share it; each program has a worker to itself while it runs."""

    def __init__(self, kind: Backend, builds: Path, workers: int = 0) -> None:
        """`builds`: folder of what is compiled for the back end `wasm`; `workers` 0: one for each core."""
        self.kind: Backend = kind
        self.builds = builds
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
            "worker_restarts": self.restarts,
        }

    def _start(self) -> Worker:
        if self._closed:
            raise SandboxFailed("This sandbox is closed: open another.")
        if self.kind == "wasm":
            self._component = self._component or build_component(self.builds)
            worker = start_wasm(self._component)
        else:
            worker = start_native(self.kind)
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


def _run(worker: Worker, code: str, calls: list[str], limits: Limits, kind: Backend) -> tuple[Outcome, bool]:
    """One program on one worker, and whether the worker can go on. A call that ended the process is passed over."""
    wall = 10 * (limits.idle_seconds + limits.cpu_seconds)
    most_bytes = 2 * MOST_BYTES + 12 * limits.output_characters + (FRAME + MOST_BYTES_OF_A_CALL) * (len(calls) + 2)
    room = {"R": MOST_BYTES, "E": MOST_BYTES}  # of all answers, also of processes that are begun anew
    answers: dict[int, Answer] = {}
    output, error, used, waited, start, lasts, loaded = "", "", 0.0, 0.0, 0, True, False
    exit_reason: ExitReason = "done"
    while lasts:
        left = Bounds(limits.cpu_seconds - used, limits.idle_seconds, limits.memory_mb << 20, wall - waited)
        program = pack_program(code, calls, start, limits.output_characters)
        ending, raw = worker.run(left, program, most_bytes)
        lasts = not ending.last
        ended, ready = ending.reason, False
        if not raw and ended == f"exit {NO_ROOM}":
            exit_reason, error = "failed", "MemoryError: its limit of memory is too small for it to be read"
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
                exit_reason, error = "failed", f"{failed.error}: {failed.message}{failed.where}"
            elif type(line[0]) is int and start <= line[0] < len(calls) and line[0] not in answers:
                answers[line[0]] = _answer(line, size, room)
        if ended == "ended" and (exit_reason == "failed" or len(answers) == len(calls)):
            break
        exit_reason = _exit_reason(ended) if exit_reason == "done" else exit_reason
        under_way = next((n for n in range(start, len(calls)) if n not in answers), len(calls))
        if (
            not ready
            or exit_reason != "crash"
            or under_way + 1 >= len(calls)
            or used >= limits.cpu_seconds
            or waited >= wall
        ):
            break
        answers[under_way] = Answer(error="crash", message=ended)
        start, exit_reason = under_way + 1, "done"
    lost = Answer(error=exit_reason if exit_reason != "done" else "crash", message=error)
    outcome = [answers.get(n, lost) for n in range(len(calls))]
    if exit_reason == "done" and any(a.error == "crash" for a in outcome):
        exit_reason = "crash"
    return Outcome(outcome, exit_reason, error, output[: limits.output_characters], loaded, used, kind), lasts


def _exit_reason(ended: str) -> ExitReason:
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
    if line[1:2] == ["E"] and len(line) == 7:
        arguments = None
        with contextlib.suppress(Unreadable):
            arguments = read_value(line[5])
        name, message = _printable(str(line[2])), _printable(str(line[3]))
        number = line[4] if type(line[4]) is int else 0
        named = line[6] if type(line[6]) is list else []
        return Answer(
            None, name[:60] or "Exception", message[:400], number, arguments if type(arguments) is list else None,
            tuple(name for name in named if type(name) is str and name.replace(".", "").isidentifier()),
        )  # fmt: skip
    return Answer(error="not plain data", message="an answer that is not typed JSON")


def _printable(text: str) -> str:
    """Without halves of characters, which no file and no terminal takes."""
    return text.encode(errors="backslashreplace").decode()
