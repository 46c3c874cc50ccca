"""The filters of system calls, run here by an interpreter of their own: what a program may call, on each kind of machine."""

import platform
import struct
from typing import Any

import pytest

from sandbox import lockdown
from sandbox.lockdown import Instruction, Seccomp

ALLOW, ASK, KILL, NOT_PERMITTED, NOT_THERE = 0x7FFF0000, 0x7FC00000, 0x80000000, 0x00050001, 0x00050026
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEVER = {  # of each table, what would undo the sandbox
    "x86_64": {"fork": 57, "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101, "prctl": 157, "tkill": 200, "tgkill": 234,
               "socket": 41, "sendto": 44, "recvmsg": 47, "wait4": 61, "setrlimit": 160, "seccomp": 317, "bpf": 321,
               "pidfd_open": 434, "pidfd_send_signal": 424, "pidfd_getfd": 438, "io_uring_setup": 425, "process_vm_readv": 310},
    "aarch64": {"execve": 221, "kill": 129, "ptrace": 117, "prctl": 167, "tkill": 130, "tgkill": 131, "socket": 198,
                "sendto": 206, "recvmsg": 212, "wait4": 260, "setrlimit": 164, "seccomp": 277, "bpf": 280, "pidfd_open": 434,
                "pidfd_send_signal": 424, "pidfd_getfd": 438, "io_uring_setup": 425, "process_vm_readv": 270},
}  # fmt: skip
THREAD = 0x3D0F00  # what the C library asks of clone for a thread
CHILD = 0x1200011  # and for a process


def decide(code: list[Instruction], number: int, architecture: int, *arguments: int) -> int:
    """What a filter says of a system call."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    at, accumulator = 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x06:
            return operand
        else:
            holds = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}[
                operation
            ]
            at += if_true if holds else if_false


class Machine:
    """A worker and its program on one kind of machine."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "machine", lambda: name)
        self.name, self.architecture = name, ARCHITECTURES[name]
        self.filters = {"worker": Seccomp("worker").code, "program": Seccomp("program").code}
        self.numbers: dict[str, int] = getattr(lockdown, f"_{name.upper()}")

    def worker(self, number: int, *arguments: int) -> int:
        return decide(self.filters["worker"], number, self.architecture, *arguments)

    def program(self, number: int, *arguments: int) -> int:
        """Both filters hold, and the stricter answer wins."""
        both = [decide(code, number, self.architecture, *arguments) for code in self.filters.values()]
        return KILL if KILL in both else min(both)


@pytest.fixture(params=ARCHITECTURES)
def machine(request: Any, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(request.param, monkeypatch)


def test_a_program_may_call_what_is_listed_and_nothing_else(machine: Machine) -> None:
    conditional = {machine.numbers[name] for name in ("clone", "clone3", "fcntl", "mmap", "prlimit64")}
    listed = set(machine.numbers.values()) - conditional
    for number in set(range(1200)) - conditional:
        assert machine.program(number, 1, 4, 8) == (ALLOW if number in listed else NOT_PERMITTED), number


def test_what_would_undo_the_sandbox_is_refused(machine: Machine) -> None:
    for name, number in NEVER[machine.name].items():
        assert machine.program(number) == NOT_PERMITTED, name


def test_threads_are_asked_for_and_processes_refused(machine: Machine) -> None:
    clone = machine.numbers["clone"]
    assert machine.program(clone, THREAD) == machine.program(clone, THREAD | 0x400000) == ASK
    for flag in (
        0x400,
        0x200,
        0x800,
        0x100,
    ):  # a thread that does not share its descriptors, folders, signals or memory
        assert machine.program(clone, THREAD & ~flag) == NOT_PERMITTED
    for flag in (0x20000, 0x4000000, 0x8000000, 0x2000000, 0x10000000, 0x20000000, 0x40000000):  # a new name space
        assert machine.program(clone, THREAD | flag) == NOT_PERMITTED
    assert machine.program(clone, CHILD) == machine.program(clone, 0) == NOT_PERMITTED
    assert machine.worker(clone, CHILD) == ALLOW
    assert machine.program(machine.numbers["clone3"]) == NOT_THERE


def test_limits_may_be_read_not_set(machine: Machine) -> None:
    limits = machine.numbers["prlimit64"]
    assert machine.program(limits, 0, 7, 0, 1 << 40) == ALLOW
    assert machine.program(limits, 0, 7, 1 << 40) == machine.program(limits, 0, 7, 1) == NOT_PERMITTED
    assert machine.program(limits, 1, 7) == NOT_PERMITTED


def test_descriptors_are_duplicated_and_read_not_made_to_signal(machine: Machine) -> None:
    fcntl = machine.numbers["fcntl"]
    assert {command for command in range(2000) if machine.program(fcntl, 3, command) == ALLOW} == {0, 1, 2, 3, 1030}


def test_memory_is_not_shared_with_a_file(machine: Machine) -> None:
    mmap = machine.numbers["mmap"]
    private, shared, validated, anonymous = 0x02, 0x01, 0x03, 0x20
    assert machine.program(mmap, 0, 4096, 1, private) == ALLOW
    assert machine.program(mmap, 0, 4096, 1, shared | anonymous) == ALLOW
    assert machine.program(mmap, 0, 4096, 1, shared) == machine.program(mmap, 0, 4096, 1, validated) == NOT_PERMITTED


def test_another_architecture_is_death(machine: Machine) -> None:
    for code in (0x40000003, ARCHITECTURES["x86_64" if machine.name == "aarch64" else "aarch64"]):
        assert decide(machine.filters["worker"], 0, code) == KILL
    assert machine.program(0x40000000 + 59) == KILL  # x32


def test_no_filter_for_an_unknown_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(lockdown.LockdownFailed, match="riscv64"):
        Seccomp("program")
