"""The pre-forked worker: Python with the standard library loaded, which forks one child per program, watches it and answers.

Run as `python -I -S -B zygote.py SOCKET` by sandbox/native.py, alone or in bubblewrap. What a child writes is not read here,
only handed on.
"""

import contextlib
import gc
import importlib
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

TICK = 0.05  # seconds between two looks at a child that says nothing


def main() -> None:
    """Lock this process, say so, then serve until the parent closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    first = read_frame(control)
    if first is None:
        return
    setup, missing = first[0], []
    guest.load()
    sys.path.extend(setup["package_folders"])
    for name in setup["preload"]:
        try:
            importlib.import_module(name)
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
    while (frame := read_frame(control)) is not None:
        write_frame(control, *serve(frame[0], control, landlock, seccomp))


def _readable(package_folders: list[str], preload: list[str]) -> list[str]:
    """The standard library, entry by entry (other packages may lie in its folder), and the folders of what was preloaded."""
    library = os.path.dirname(os.__file__)
    paths = [os.path.join(library, name) for name in os.listdir(library) if not name.endswith("-packages")]
    for folder in package_folders:
        paths += [os.path.join(folder, name) for name in os.listdir(folder) if name.split(".")[0] in preload]
    return paths


def serve(
    request: dict[str, Any], control: socket.socket, landlock: lockdown.Landlock, seccomp: lockdown.Seccomp
) -> tuple[dict[str, Any], bytes]:
    """Fork a child for one program, and wait for its end."""
    begun = time.monotonic()
    out, answers = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(request, answers, landlock, seccomp)
    os.close(answers)
    watch = os.pidfd_open(pid)
    try:
        why, raw = _watch(request, pid, watch, out, control)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        _, status, usage = os.wait4(pid, 0)
        os.close(watch)
        os.close(out)
    if why == "ended" and status != 0:
        number = os.waitstatus_to_exitcode(status)
        # The kernel's own CPU limit stands behind ours, and has ended a child whose worker could not look in time.
        why = "cpu" if number == -signal.SIGXCPU else f"exit {number}" if number > 0 else f"signal {-number}"
    cpu = usage.ru_utime + usage.ru_stime
    return {"why": why, "cpu": cpu, "wall": time.monotonic() - begun}, bytes(raw)


def _watch(request: dict[str, Any], pid: int, watch: int, out: int, control: socket.socket) -> tuple[str, bytearray]:
    """Read what the child writes until it ends or goes over a limit. Time counts by the CPU that it used, or by looks at it
    that found it asleep, never by a clock: on a loaded machine it gets just as far.
    """
    raw = bytearray()
    clock = (~pid << 3) | 2  # its CPU clock, as clock_getcpuclockid(3) makes it
    used, asleep, looks = 0.0, 0, 0
    poll = select.poll()
    for fd in (out, watch):
        poll.register(fd, select.POLLIN)
    poll.register(control, select.POLLHUP)
    cores = len(os.sched_getaffinity(0))
    while True:
        wait = min(TICK, max(0.001, (request["cpu"] - used) / cores))
        events = dict(poll.poll(wait * 1000))
        if control.fileno() in events:
            os._exit(0)  # the parent is gone
        if out in events:
            raw += os.read(out, 1 << 16)
            if len(raw) > request["most_bytes"]:
                return "flood", raw
            if not events[out] & select.POLLIN:  # it closed its end; what is left of it says nothing more
                poll.unregister(out)
        if watch in events:
            os.set_blocking(out, False)
            with contextlib.suppress(BlockingIOError):
                while (part := os.read(out, 1 << 16)) and len(raw) <= request["most_bytes"]:
                    raw += part
            return ("flood" if len(raw) > request["most_bytes"] else "ended"), raw
        with contextlib.suppress(OSError):
            now = time.clock_gettime(clock)
            if now >= request["cpu"]:
                return "cpu", raw
            if not events:
                looks += wait >= TICK
                asleep = asleep + 1 if now - used < 0.0005 and wait >= TICK else 0
                if asleep * TICK >= request["idle"] or looks * TICK >= request["wall"]:
                    return "idle", raw
            used = now


def _child(request: dict[str, Any], answers: int, landlock: lockdown.Landlock, seccomp: lockdown.Seccomp) -> NoReturn:
    """Give up everything, then run the program."""
    try:
        lockdown.die_with_parent()
        landlock.restrict()  # nested: out of reach of the worker's own domain
        os.dup2(1, 2)  # standard output is /dev/null; standard error is the worker's own
        os.dup2(answers, 3)
        os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        lockdown.limit(request["memory"], int(request["cpu"]) + 2)
        seccomp.restrict()
        os.write(3, b"+")  # nothing of the program has run: without this byte, it is the worker that failed
        guest.run(request["code"], request["calls"], request["start"], request["output"], _emit)
    except BaseException:
        os._exit(1)
    os._exit(0)


def _emit(line: str) -> None:
    data = line.encode()
    while data:
        data = data[os.write(3, data) :]


if __name__ == "__main__":
    main()
