"""What the Linux kernel is told to refuse a process: Landlock for files, ports and signals, seccomp for system calls, limits
for memory and files. Raw system calls through ctypes, since this runs alone in the worker, with the standard library only.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Callable
from os import closerange, dup2, getppid
from resource import RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_NOFILE, setrlimit
from typing import Any, Literal

SMALLEST_LANDLOCK = 4  # Linux 6.7: files and TCP ports

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_CAPABILITIES_VERSION = 0x20080522
_SECCOMP_SET_FILTER, _SECCOMP_NEW_LISTENER = 1, 8
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights each version of Landlock knows, from bit 0
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_CLONE_THREAD, _CLONE_DETACHED = 0x10000, 0x400000
_THREAD = 0x3D0F00
"""Flags with which the C library starts a thread: all is shared. (musl adds one that means nothing.) Without CLONE_FILES each
thread would have descriptors of its own, beyond any limit."""
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_EPERM, _ENOSYS = 1, 38
_HIGHEST = (1 << 31) - 1  # the worker's own socket may have any number
MOST_FILES = 32
CHANNEL = 3
"""A program's own descriptor, to the parent; 0, 1 and 2 are /dev/null."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class LockdownFailed(OSError):
    """The kernel did not do what it was told."""


def landlock_version() -> int:
    """Landlock's ABI version; 0 where the kernel has none."""
    if platform.system() != "Linux":
        return 0
    return max(0, int(_libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


class Landlock:
    """A ruleset: nothing but reading `paths` (files, or folders with what is below them)."""

    def __init__(self, paths: list[str]) -> None:
        version = landlock_version()
        if version < SMALLEST_LANDLOCK:
            raise LockdownFailed(f"Landlock has version {version} here; {SMALLEST_LANDLOCK} is needed.")
        files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
        handled = struct.pack("QQQ", files, 0b11, 0b11 if version >= 6 else 0)  # files, TCP bind and connect, scopes
        size = 24 if version >= 6 else 16
        self.fd = _syscall(_LANDLOCK_CREATE, ctypes.c_char_p(handled), ctypes.c_size_t(size), ctypes.c_uint32(0))
        for path in paths:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rights = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
            rule = struct.pack("=Qi", rights, fd)
            _syscall(_LANDLOCK_ADD, self.fd, 1, ctypes.c_char_p(rule), ctypes.c_uint32(0))
            os.close(fd)

    def restrict(self) -> None:
        """Bind this process and its children for good."""
        _do(*self.step())

    def step(self) -> "Step":
        """The system call that does so."""
        return _libc.syscall, (ctypes.c_long(_LANDLOCK_RESTRICT), ctypes.c_long(self.fd), ctypes.c_long(0))


def give_up() -> None:
    """No capability, no rights of set-uid programs, closed to /proc and ptrace, few files, none that grows, no locked memory, no
    core dump: for this process and its children, for good."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITIES_VERSION, 0), 8)
    _do(_libc.capset, (header, ctypes.create_string_buffer(24)))
    _do(*_prctl(_PR_SET_NO_NEW_PRIVS, 1))
    _do(*_prctl(_PR_SET_DUMPABLE, 0))
    for what, value in ((RLIMIT_FSIZE, 0), (RLIMIT_NOFILE, MOST_FILES), (RLIMIT_CORE, 0), (RLIMIT_MEMLOCK, 0)):
        setrlimit(what, (value, value))


class Seccomp:
    """A filter of system calls; what it does not allow is refused with EPERM. A process may have several: all must allow.

    The worker's own allows what computing and forking take, once for all children; before a thread is started it asks the parent
    (sandbox/thread_limit.py). A child adds `program`, which takes the forking away: a short one, since the kernel compiles each,
    and tries it on every number of a system call.
    """

    def __init__(self, whose: Literal["worker", "program"]) -> None:
        if platform.machine() not in _ARCHITECTURES:
            raise LockdownFailed(f"The filter of system calls is not written for {platform.machine()}.")
        self.code = (_worker_filter if whose == "worker" else _program_filter)(*_ARCHITECTURES[platform.machine()])
        packed = b"".join(struct.pack("HBBI", *instruction) for instruction in self.code)
        self._packed = ctypes.create_string_buffer(packed, len(packed))
        self._program = ctypes.create_string_buffer(
            struct.pack("HxxxxxxQ", len(self.code), ctypes.addressof(self._packed)), 16
        )
        self._address = ctypes.addressof(self._program)
        self._number = _SECCOMP_NUMBER[platform.machine()]

    def restrict(self) -> int:
        """Bind this process and its children for good; the descriptor at which the kernel asks."""
        arguments = (self._number, _SECCOMP_SET_FILTER, _SECCOMP_NEW_LISTENER, self._address)
        return _do(_libc.syscall, tuple(map(ctypes.c_long, arguments)))

    def step(self) -> "Step":
        """The system call that does so, for a filter that asks nothing."""
        return _prctl(_PR_SET_SECCOMP, 2, self._address)


class Cell:
    """The locks of one program, made ready by the worker. A child copies each page of memory that it writes on, if only to count
    a reference: so what it does to lock itself is little, and bound beforehand."""

    def __init__(self) -> None:
        # One rule is enough, as the worker's hold too. Nested, it is out of reach of the worker's own domain.
        self._landlock = Landlock(["/"])
        self._seccomp = Seccomp("program")
        self._before = [_prctl(_PR_SET_PDEATHSIG, 9), self._landlock.step()]
        self._after = self._seccomp.step()
        self._worker = os.getpid()

    def restrict(self, channel: int, memory_bytes: int, cpu_seconds: int) -> None:
        """Lock this process for good: it dies with its parent, holds no descriptor but `channel`, as CHANNEL, and keeps limits."""
        for step in self._before:
            _do(*step)
        if getppid() != self._worker:
            raise LockdownFailed("the worker ended before its end could be watched")
        dup2(1, 2)  # standard output is /dev/null; standard error is the worker's own
        dup2(channel, CHANNEL)
        closerange(CHANNEL + 1, _HIGHEST)
        setrlimit(RLIMIT_AS, (memory_bytes, memory_bytes))
        setrlimit(RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))  # behind the worker's own, finer one
        _do(*self._after)


_X86_64 = {
    "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19,
    "writev": 20, "access": 21, "pipe": 22, "select": 23, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup": 32,
    "dup2": 33, "pause": 34, "nanosleep": 35, "getitimer": 36, "alarm": 37, "setitimer": 38, "getpid": 39, "clone": 56,
    "exit": 60, "uname": 63, "fcntl": 72, "getcwd": 79, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98,
    "sysinfo": 99, "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110,
    "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130, "sigaltstack": 131, "gettid": 186, "time": 201,
    "futex": 202, "sched_getaffinity": 204, "getdents64": 217, "set_tid_address": 218, "restart_syscall": 219,
    "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "open": 2, "openat": 257,
    "newfstatat": 262, "faccessat": 269, "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "dup3": 292, "pipe2": 293,
    "prlimit64": 302, "getcpu": 309, "getrandom": 318, "statx": 332, "rseq": 334, "faccessat2": 439, "clone3": 435,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214,
    "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "pread64": 67, "readv": 65, "writev": 66,
    "sched_yield": 124, "mremap": 216, "madvise": 233, "dup": 23, "nanosleep": 101, "getitimer": 102, "setitimer": 103,
    "getpid": 172, "clone": 220, "exit": 93, "uname": 160, "fcntl": 25, "getcwd": 17, "gettimeofday": 169,
    "getrlimit": 163, "getrusage": 165, "sysinfo": 179, "times": 153, "getuid": 174, "getgid": 176, "geteuid": 175,
    "getegid": 177, "getppid": 173, "rt_sigpending": 136, "rt_sigtimedwait": 137, "rt_sigsuspend": 133, "sigaltstack": 132,
    "gettid": 178, "futex": 98, "sched_getaffinity": 123, "getdents64": 61, "set_tid_address": 96, "restart_syscall": 128,
    "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94, "openat": 56, "newfstatat": 79,
    "faccessat": 48, "pselect6": 72, "ppoll": 73, "set_robust_list": 99, "dup3": 24, "pipe2": 59, "prlimit64": 261,
    "getcpu": 168, "getrandom": 278, "statx": 291, "rseq": 293, "faccessat2": 439, "clone3": 435,
}  # fmt: skip
_X86_64_WORKER = {
    "sendto": 44, "sendmsg": 46, "recvfrom": 45, "recvmsg": 47, "fork": 57, "wait4": 61, "kill": 62, "prctl": 157,
    "pidfd_open": 434, "close_range": 436, "landlock_restrict_self": 446,
}  # fmt: skip
_AARCH64_WORKER = {
    "sendto": 206, "sendmsg": 211, "recvfrom": 207, "recvmsg": 212, "wait4": 260, "kill": 129, "prctl": 167, "pidfd_open": 434,
     "close_range": 436, "landlock_restrict_self": 446,
}  # fmt: skip
"""What a worker needs beyond its programs: to talk to the parent, to fork, to watch, and to lock a child."""
_ARCHITECTURES = {"x86_64": (0xC000003E, _X86_64, _X86_64_WORKER), "aarch64": (0xC00000B7, _AARCH64, _AARCH64_WORKER)}
_SECCOMP_NUMBER = {"x86_64": 317, "aarch64": 277}
_FCNTL_ALLOWED = (0, 1, 2, 3, 1030)
"""Duplicate, and read flags; F_SETOWN sends signals, and F_SETFL reaches other children."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ASK, _KILL, _ERROR = 0x7FFF0000, 0x7FC00000, 0x80000000, 0x00050000
_REFUSED = (_RETURN, 0, 0, _ERROR | _EPERM)

Instruction = tuple[int, int, int, int]
"""Classic BPF over struct seccomp_data (number at 0, architecture at 4, arguments of 8 bytes each from 16): operation, how many
to skip if it holds, how many if not, operand."""


def _worker_filter(architecture: int, numbers: dict[str, int], more: dict[str, int]) -> list[Instruction]:
    code: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 0x40000000),  # the x32 numbers of x86
        (_RETURN, 0, 0, _KILL),
    ]
    for name, number in {**numbers, **more}.items():
        if name not in ("clone", "clone3", "fcntl"):
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    clone: list[Instruction] = [
        (_LOAD, 0, 0, 16),
        (_EQUAL, 1, 0, _THREAD),
        (_EQUAL, 0, 1, _THREAD | _CLONE_DETACHED),
        (_RETURN, 0, 0, _ASK),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),  # a process: the program's filter refuses it
    ]
    code += [(_EQUAL, 0, len(clone) + 1, numbers["clone"]), *clone, _REFUSED]
    commands: list[Instruction] = [(_LOAD, 0, 0, 24)]
    for command in _FCNTL_ALLOWED:
        commands += [(_EQUAL, 0, 1, command), (_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, 0, len(commands) + 1, numbers["fcntl"]), *commands, _REFUSED]
    code += [(_EQUAL, 0, 1, numbers["clone3"]), (_RETURN, 0, 0, _ERROR | _ENOSYS)]  # the C library then uses clone
    return [*code, _REFUSED]


def _program_filter(architecture: int, numbers: dict[str, int], more: dict[str, int]) -> list[Instruction]:
    """To be added to the worker's: architecture and the numbers that nobody needs are settled there."""
    code: list[Instruction] = [(_LOAD, 0, 0, 0)]
    for number in more.values():
        code += [(_EQUAL, 0, 1, number), _REFUSED]
    only_threads = [(_LOAD, 0, 0, 16), (_ANY_BIT, 1, 0, _CLONE_THREAD), _REFUSED, (_RETURN, 0, 0, _ALLOW)]
    own = [(_LOAD, 0, 0, 16), (_EQUAL, 0, 4, 0)]  # its own limits,
    read = [(_LOAD, 0, 0, 32), (_EQUAL, 0, 2, 0), (_LOAD, 0, 0, 36), (_EQUAL, 1, 0, 0)]  # and no new ones
    code += [(_EQUAL, 0, len(only_threads), numbers["clone"]), *only_threads]
    # Memory shared with a file is shared with other programs, who can wake each other there.
    own_memory = [(_LOAD, 0, 0, 40), (_ANY_BIT, 2, 0, _MAP_ANONYMOUS), (_ANY_BIT, 0, 1, _MAP_SHARED), _REFUSED]
    own_memory += [(_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, 0, len(own_memory), numbers["mmap"]), *own_memory]
    only_reads_own_limits = [*own, *read, _REFUSED]
    code += [(_EQUAL, 0, len(only_reads_own_limits), numbers["prlimit64"]), *only_reads_own_limits]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


Step = tuple[Callable[..., int], tuple[Any, ...]]
"""A function of the C library with its arguments."""


def _prctl(option: int, argument: int, more: int = 0) -> Step:
    return _libc.prctl, (ctypes.c_int(option), *map(ctypes.c_ulong, (argument, more, 0, 0)))


def _do(function: Callable[..., int], arguments: tuple[Any, ...]) -> int:
    result = function(*arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise LockdownFailed(error, f"{function.__name__}{arguments}: {os.strerror(error)}")
    return result


def _syscall(*arguments: Any) -> int:
    return _do(_libc.syscall, arguments)
