"""The pre-forked worker: Python with the standard library loaded, which forks one child per program and watches it.

Run as `python -P -s -S -B zygote.py SOCKET` by sandbox/native.py, alone or in bubblewrap. It sees limits only: a program's source,
its calls and its answers pass between the parent and the child, since what was once in this process could be read from the
memory of every later child.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from os import close, pidfd_open, waitpid
from os import write as write_to
from time import clock_gettime, monotonic
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from sandbox import guest, lockdown, wire
else:  # this file runs alone: the project is not to be seen from where it runs
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import guest
    import lockdown
    import wire

EXTENSIONS = "_bz2 _hashlib _lzma _sqlite3 _uuid pyexpat zlib".split()
"""Parts of the standard library that need libraries from elsewhere, which a program must be able to read to import them."""
LINKER_CACHE = "/etc/ld.so.cache"  # where it looks for libraries in other folders than the usual
TICK = 0.05  # seconds between two looks at a child that says nothing
WARM_UP = "import math\nclass A:\n    B = 1\ndef f(x):\n    return [x, str(x), {A.B: (x / 2, None, True)}]"


def main() -> None:
    """Lock this process, say so, then serve until the parent closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    first = wire.read_frame(control)
    if first is None:
        return
    guest.load(guest.COMMON)
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    sys.argv[:] = [""]
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    lockdown.give_up()
    lockdown.Landlock([*first["readable"], *_libraries_of(EXTENSIONS)]).restrict()
    _warm_up()
    worker = Zygote(control)
    gc.collect()
    gc.freeze()
    wire.write_frame(control, {})
    worker.lock()
    while (request := wire.receive_request(control)) is not None:
        worker.serve(*request)


def _libraries_of(modules: list[str]) -> list[str]:
    """The files that the linker needs for these modules, beyond Python's library. They are loaded in a child: here, each would make
    every fork slower."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        try:
            guest.load(modules)
            with open(theirs, "wb") as pipe:
                pipe.write(b"\n".join(_loaded_libraries()))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(theirs)
    with open(ours) as pipe:
        names = pipe.read().split("\n")
    if status := os.wait()[1]:
        raise OSError(f"a child that loaded {', '.join(modules)} ended with {status}")
    library = os.path.dirname(os.__file__) + os.sep
    return [name for name in (*names, LINKER_CACHE) if os.path.isfile(name) and not name.startswith(library)]


def _loaded_libraries() -> list[bytes]:
    """The names of the files that the dynamic linker has loaded (dl_iterate_phdr(3))."""

    class Entry(ctypes.Structure):
        _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]

    names = []

    def note(entry: Any, size: int, nothing: None) -> int:
        names.append(entry.contents.name)
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Entry), ctypes.c_size_t, ctypes.c_void_p)
    ctypes.CDLL(None).dl_iterate_phdr(callback(note), None)
    return names


def _warm_up() -> None:
    """Let the interpreter adapt its bytecode and fill its caches here, once: in a child, each page it writes on is copied first."""
    streams = sys.stdout, sys.stderr
    for _ in range(50):
        guest.prepare()
        guest.run(WARM_UP, ["f(3)", "f('a')"], 0, 0, lambda line: None)
    guest.prepare()
    sys.stdout, sys.stderr = streams


class Zygote:
    """Forks a child per program, and watches it."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        # With the C library's fork a child runs none of Python's at-fork handlers, which touch a hundred pages: there is one
        # thread, no lock to be mended, and random numbers are to be the same in every child. PyDLL: the GIL is kept.
        self._fork = ctypes.PyDLL(None).fork
        self._cores = len(os.sched_getaffinity(0))
        self._poll = select.poll()
        self._poll.register(control, select.POLLHUP)
        self._cell = lockdown.Cell()

    def lock(self) -> None:
        """Allow this process and its children what they need, for good; the parent gets the descriptor at which the kernel asks."""
        listener = lockdown.Seccomp("worker").restrict()
        wire.send_descriptor(self._control, listener)
        close(listener)

    def serve(self, bounds: wire.Bounds, channel: int) -> None:
        """Run one program, wait for its end, and tell of it."""
        pid = self._fork()
        if pid == 0:
            _child(self._cell, bounds, channel)
        if pid < 0:
            raise OSError("no child could be forked")
        close(channel)
        watch = pidfd_open(pid)
        clock = (~pid << 3) | 2  # its CPU clock, as clock_getcpuclockid(3) makes it
        reason, waited = "cpu", 0.0
        try:
            reason, waited = self._watch(bounds, watch, clock)
        finally:
            if reason != "ended":
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            used = clock_gettime(clock)
            _, status = waitpid(pid, 0)
            self._poll.unregister(watch)
            close(watch)
        if reason == "ended" and status != 0:
            number = os.waitstatus_to_exitcode(status)
            # The kernel's own CPU limit stands behind ours, and has ended a child whose worker could not look in time.
            spent = used >= bounds.cpu and number in (-signal.SIGXCPU, -signal.SIGKILL)
            reason = "cpu" if spent else f"exit {number}" if number > 0 else f"signal {-number}"
        wire.send_ending(self._control, reason, used, waited)

    def _watch(self, bounds: wire.Bounds, watch: int, clock: int) -> tuple[str, float]:
        """Wait until the child ends or goes over a limit; also how long that was, in looks.

        Time counts by the CPU that it used, or by looks that found it asleep, each of TICK at most: on a loaded machine, where
        looks are late, it gets just as far.
        """
        most, idle, _, wall = bounds
        used, asleep, waited = 0.0, 0.0, 0.0
        self._poll.register(watch, select.POLLIN)
        while True:
            begun = monotonic()
            events = self._poll.poll(1000 * min(TICK, max(0.001, (most - used) / self._cores)))
            for descriptor, _ in events:
                if descriptor == watch:
                    return "ended", waited
            if events:
                os._exit(0)  # the parent is gone
            look = min(TICK, monotonic() - begun)
            waited += look
            now = clock_gettime(clock)
            if now >= most:
                return "cpu", waited
            asleep = asleep + look if now - used < 0.01 * look else 0.0
            if asleep >= idle or waited >= wall:
                return "idle", waited
            used = now


def _child(cell: lockdown.Cell, bounds: wire.Bounds, channel: int) -> NoReturn:
    """Give up everything, then read the program and run it."""
    try:
        cell.restrict(channel, int(bounds.memory), int(bounds.cpu) + 2)
        program = wire.read_program(lockdown.CHANNEL)
    except MemoryError:
        os._exit(wire.NO_ROOM)
    except BaseException:
        os._exit(1)
    try:
        _emit("+")  # nothing of the program has run: without this byte, it is the worker that failed
        guest.run(*program, _emit)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _emit(line: str) -> None:
    data = line.encode()
    while data:
        data = data[write_to(lockdown.CHANNEL, data) :]


if __name__ == "__main__":
    main()
