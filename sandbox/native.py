"""The two native back ends of Linux: a pre-forked worker under Landlock, seccomp and limits, with or without bubblewrap."""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from sandbox.frames import Bounds, Ending, read_frame, receive_ending, send_request, write_frame
from sandbox.lockdown import SMALLEST_LANDLOCK, landlock_version

HERE = Path(__file__).resolve().parent
SYSTEM_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
SETUP_SECONDS = 30.0
HEAD_START = 0.01  # seconds in which most programs end: until then nobody is woken for each of their lines
ENVIRONMENT = {
    "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8",
    "LD_BIND_NOW": "1",  # else each child looks up anew what it calls in libraries
}  # fmt: skip

Kind = Literal["bubblewrap", "landlock", "wasm"]


class WorkerDied(RuntimeError):
    """A worker ended or did not answer: a fault of the machine, never a verdict on a program."""


class CannotRun(RuntimeError):
    """The machine does not have what a back end needs; the message says what."""


class Worker:
    """A process that runs programs one at a time; it ends when its socket closes."""

    def __init__(
        self, command: list[str], descriptor: socket.socket, ours: socket.socket, setup: dict[str, Any]
    ) -> None:
        self._socket = ours
        self._said: str | None = None
        self.process = subprocess.Popen(
            command, pass_fds=[descriptor.fileno()], env=ENVIRONMENT, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        descriptor.close()
        self._told = select.poll()
        self._told.register(ours, select.POLLIN)
        ready = self.request(setup, SETUP_SECONDS)
        if ready["missing"]:
            self.close()
            raise CannotRun(f"The sandbox cannot load what was to be preloaded: {'; '.join(ready['missing'])}.")

    def request(self, head: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a frame and wait for its answer. Raises WorkerDied."""
        try:
            self._socket.settimeout(seconds)
            write_frame(self._socket, head)
            answer = read_frame(self._socket)
        except (OSError, ValueError) as error:
            raise WorkerDied(f"The sandbox's worker did not answer: {error}. {self.close()}") from error
        if answer is None:
            raise WorkerDied(f"The sandbox's worker ended: {self.close() or 'it said nothing'}")
        return answer

    def run(self, bounds: Bounds, program: bytes, most_bytes: int) -> tuple[Ending, bytes]:
        """Run one packed program: how it ended, and what it wrote. Raises WorkerDied.

        Past `most_bytes` nothing more is read, and `why` is flood.
        """
        ours, theirs = socket.socketpair()
        raw, flood = bytearray(), False
        try:
            with theirs:
                ours.setblocking(False)
                rest = memoryview(program)[ours.send(program) :]
                send_request(self._socket, bounds, theirs.fileno())
            if rest or not self._told.poll(1000 * HEAD_START):
                flood = self._talk(ours, rest, raw, most_bytes, 3 * bounds.wall + 60.0)  # a worker ends it long before
            ending = receive_ending(self._socket)
            if ending is None:
                raise OSError("it ended")
            flood = flood or _read_all(ours, raw, most_bytes)
        except (OSError, ValueError) as error:
            raise WorkerDied(f"The sandbox's worker did not answer: {error}. {self.close()}") from error
        finally:
            ours.close()
        return (ending._replace(why="flood") if flood else ending), bytes(raw)

    def _talk(self, ours: socket.socket, rest: memoryview, raw: bytearray, most_bytes: int, seconds: float) -> bool:
        """Send what is left of a program and read what it writes, until the worker tells of its end; whether it was a flood."""
        deadline = time.monotonic() + seconds
        flood = False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(ours, select.POLLIN | (select.POLLOUT if rest else 0))
        while True:
            events = dict(poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))))
            if not events:
                raise TimeoutError("no answer in time")
            state = events.get(ours.fileno(), 0)
            if state & select.POLLOUT and rest:
                with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                    rest = rest[ours.send(rest) :]
                if not rest:
                    poll.modify(ours, select.POLLIN)
            if state & ~select.POLLOUT:
                flood = _read_all(ours, raw, most_bytes)
                if flood or state & (select.POLLHUP | select.POLLERR):
                    poll.unregister(ours)
                    if flood:
                        ours.shutdown(socket.SHUT_RDWR)
            if self._socket.fileno() in events:
                return flood

    def close(self) -> str:
        """End the worker; what it last wrote on standard error. Closing twice is closing once."""
        if self._said is not None:
            return self._said
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            self._said = str(stderr.read()[-500:].decode(errors="replace").strip())
        self.process.wait()
        return self._said


def _read_all(channel: socket.socket, raw: bytearray, most_bytes: int) -> bool:
    """Read what is there; whether it was more than `most_bytes`."""
    while len(raw) <= most_bytes:
        try:
            part = channel.recv(1 << 16)
        except (BlockingIOError, ConnectionResetError):
            return False
        if not part:
            return False
        raw += part
    return True


def has_native() -> bool:
    """Whether this machine's kernel has what the native back ends need."""
    return sys.platform == "linux" and landlock_version() >= SMALLEST_LANDLOCK


def start_native(kind: Kind, preload: tuple[str, ...]) -> Worker:
    """A worker of the back end `bubblewrap` or `landlock`. Raises CannotRun or WorkerDied."""
    if not has_native():
        raise CannotRun("This machine has no Linux kernel with Landlock 4 or newer (Linux 6.7).")
    folders = _package_folders(preload)
    python = os.path.realpath(sys.executable)
    ours, theirs = socket.socketpair()
    command = [python, "-P", "-s", "-S", "-B", str(HERE / "zygote.py"), str(theirs.fileno())]
    if kind == "bubblewrap":
        command = [*_bubblewrap(python, [str(HERE), *_packages(folders, preload)]), *command]
    return Worker(command, theirs, ours, {"package_folders": folders, "preload": list(preload)})


def _bubblewrap(python: str, more: list[str]) -> list[str]:
    """An empty root with Python and the system's libraries, read-only; no network, no other process, no capability."""
    binary = shutil.which("bwrap")
    if binary is None:
        raise CannotRun("bubblewrap is not installed (apt install bubblewrap).")
    paths = [python, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    paths += [str(p) for p in Path(sys.base_prefix, "lib").glob("*.so*")]
    binds = []
    for path in dict.fromkeys([*SYSTEM_LIBRARIES, *paths, *more]):
        if os.path.islink(path) and path in SYSTEM_LIBRARIES:
            binds += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            binds += ["--ro-bind", path, path]
    return [
        binary, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL",
        "--hostname", "sandbox", *binds, "--remount-ro", "/", "--chdir", "/", "--",
    ]  # fmt: skip


def _package_folders(preload: tuple[str, ...]) -> list[str]:
    """Where the packages to preload lie."""
    folders = []
    for name in preload:
        found = find_spec(name)
        if found is None or not found.origin:
            raise CannotRun(f"The package {name} is not installed, and so cannot be preloaded.")
        folders.append(str(Path(found.origin).parent.parent))
    return list(dict.fromkeys(folders))


def _packages(folders: list[str], preload: tuple[str, ...]) -> list[str]:
    """The packages' own folders, and the libraries beside them (numpy.libs)."""
    return [str(path) for folder in folders for path in Path(folder).iterdir() if path.name.split(".")[0] in preload]
