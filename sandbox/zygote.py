"""The pre-forked worker: Python with the standard library loaded, which forks one child per program and watches it.

Run as `python -P -s -S -B zygote.py SOCKET` by sandbox/native.py, alone or in bubblewrap. It sees limits only: a program's source,
its calls and its answers pass between the parent and the child, since what was once in this process could be read from the
memory of every later child.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from sandbox import guest, lockdown
    from sandbox.frames import read_frame, write_frame
else:  # this file runs alone: the project is not to be seen from where it runs
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import guest
    import lockdown
    from frames import read_frame, write_frame

EXTENSIONS = "_bz2 _ctypes _decimal _hashlib _lzma _sqlite3 _uuid pyexpat zlib".split()
"""Parts of the standard library that need the system's libraries, which cannot be read once the door is closed."""
TICK = 0.05  # seconds between two looks at a child that says nothing


def main() -> None:
    """Lock this process, say so, then serve until the parent closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    first = read_frame(control)
    if first is None:
        return
    setup, missing = first, []
    guest.load(guest.COMMON)
    guest.load(EXTENSIONS)
    sys.path.extend(setup["package_folders"])
    for name in setup["preload"]:
        try:
            importlib.import_module(name)
            if name == "numpy":
                importlib.import_module("numpy.random")  # lazy by itself, and then not seeded
        except ImportError as error:
            missing.append(f"{name}: {error}")
    del sys.path[len(sys.path) - len(setup["package_folders"]) :]
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    sys.argv[:] = [""]
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    landlock = lockdown.Landlock(_readable(setup["package_folders"], setup["preload"]))
    seccomp = lockdown.Seccomp()
    landlock.restrict()
    gc.collect()
    gc.freeze()
    write_frame(control, {"missing": missing})
    while (request := _next_request(control)) is not None:
        write_frame(control, serve(*request, control, landlock, seccomp))


def _next_request(control: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Limits, and the child's end of a socket to the parent; None when the parent has closed."""
    data, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
    if not data or not descriptors:
        return None
    return json.loads(data), descriptors[0]


def _readable(package_folders: list[str], preload: list[str]) -> list[str]:
    """The standard library, entry by entry (other packages may lie in its folder), and the folders of what was preloaded."""
    library = os.path.dirname(os.__file__)
    paths = [os.path.join(library, name) for name in os.listdir(library) if not name.endswith("-packages")]
    for folder in package_folders:
        paths += [os.path.join(folder, name) for name in os.listdir(folder) if name.split(".")[0] in preload]
    return paths


def serve(
    limits: dict[str, Any],
    channel: int,
    control: socket.socket,
    landlock: lockdown.Landlock,
    seccomp: lockdown.Seccomp,
) -> dict[str, Any]:
    """Fork a child for one program, and wait for its end."""
    pid = os.fork()
    if pid == 0:
        _child(limits, channel, landlock, seccomp)
    os.close(channel)
    watch = os.pidfd_open(pid)
    waited = 0.0
    try:
        why, waited = _watch(limits, pid, watch, control)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        _, status, usage = os.wait4(pid, 0)
        os.close(watch)
    cpu = usage.ru_utime + usage.ru_stime
    if why == "ended" and status != 0:
        number = os.waitstatus_to_exitcode(status)
        # The kernel's own CPU limit stands behind ours, and has ended a child whose worker could not look in time.
        spent = cpu >= limits["cpu"] and number in (-signal.SIGXCPU, -signal.SIGKILL)
        why = "cpu" if spent else f"exit {number}" if number > 0 else f"signal {-number}"
    return {"why": why, "cpu": cpu, "waited": waited}


def _watch(limits: dict[str, Any], pid: int, watch: int, control: socket.socket) -> tuple[str, float]:
    """Wait until the child ends or goes over a limit; also how long that was, in looks.

    Time counts by the CPU that it used, or by looks that found it asleep, each of TICK at most: on a loaded machine, where
    looks are late, it gets just as far.
    """
    clock = (~pid << 3) | 2  # its CPU clock, as clock_getcpuclockid(3) makes it
    used, asleep, waited = 0.0, 0.0, 0.0
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    poll.register(control, select.POLLHUP)
    cores = len(os.sched_getaffinity(0))
    while True:
        begun = time.monotonic()
        events = dict(poll.poll(1000 * min(TICK, max(0.001, (limits["cpu"] - used) / cores))))
        if control.fileno() in events:
            os._exit(0)  # the parent is gone
        if watch in events:
            return "ended", waited
        look = min(TICK, time.monotonic() - begun)
        waited += look
        now = used
        with contextlib.suppress(OSError):
            now = time.clock_gettime(clock)
        if now >= limits["cpu"]:
            return "cpu", waited
        asleep = asleep + look if now - used < 0.01 * look else 0.0
        if asleep >= limits["idle"] or waited >= limits["wall"]:
            return "idle", waited
        used = now


def _child(limits: dict[str, Any], channel: int, landlock: lockdown.Landlock, seccomp: lockdown.Seccomp) -> NoReturn:
    """Give up everything, then read the program and run it."""
    try:
        lockdown.die_with_parent()
        landlock.restrict()  # nested: out of reach of the worker's own domain
        os.dup2(1, 2)  # standard output is /dev/null; standard error is the worker's own
        os.dup2(channel, 3)
        os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        lockdown.limit(limits["memory"], int(limits["cpu"]) + 2)
        request = _read_program()
        seccomp.restrict()
        os.write(3, b"+")  # nothing of the program has run: without this byte, it is the worker that failed
        guest.run(request["code"], request["calls"], request["start"], request["output"], _emit)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _read_program() -> dict[str, Any]:
    """The program, its calls and where to begin, from the parent: a line of JSON."""
    parts: list[bytes] = []
    while not (parts and parts[-1].endswith(b"\n")):
        part = os.read(3, 1 << 20)
        if not part:
            raise EOFError("the parent has gone")
        parts.append(part)
    program: dict[str, Any] = json.loads(b"".join(parts))
    return program


def _emit(line: str) -> None:
    data = line.encode()
    while data:
        data = data[os.write(3, data) :]


if __name__ == "__main__":
    main()
