"""What parent and workers send each other: frames of JSON to set a worker up, then small fixed records, a pair a program.

The program itself is sent straight to the child, bypassing the worker. Standard library only.
"""

import json
import marshal
import socket
import struct
import sys
from os import read
from typing import Any, NamedTuple

MOST_BYTES = 64 << 20
NO_ROOM = 75
"""With what a child ends that has too little memory to read its program."""
_LIMITS = struct.Struct("!4d")
_ENDING = struct.Struct("!16s2d?")
_ONE_DESCRIPTOR = socket.CMSG_SPACE(4)


class Bounds(NamedTuple):
    """What a program may still use."""

    cpu: float
    """Seconds."""
    idle: float
    """Seconds."""
    memory: float
    """Bytes of address space."""
    wall: float
    """Seconds, counted in looks."""


class Ending(NamedTuple):
    """How a program ended."""

    reason: str
    """`ended`, `cpu`, `idle`, `flood`, `signal N` or `exit N`."""
    cpu: float
    """Seconds it used."""
    waited: float
    """Seconds it was looked at."""
    last: bool = False
    """Whether the worker goes with it."""


def write_frame(sock: socket.socket, head: dict[str, Any]) -> None:
    """Send one frame: 4 bytes of length, then JSON."""
    data = json.dumps(head).encode()
    sock.sendall(struct.pack("!I", len(data)) + data)


def read_frame(sock: socket.socket) -> dict[str, Any] | None:
    """The next frame; None when the other side has closed. Raises OSError and ValueError for a broken one."""
    length = _read(sock, 4)
    if length is None:
        return None
    (size,) = struct.unpack("!I", length)
    if size > MOST_BYTES:
        raise ValueError(f"a frame of {size} bytes")
    head = _read(sock, size)
    return None if head is None else dict(json.loads(head))


def send_request(sock: socket.socket, bounds: Bounds, channel: int) -> None:
    """Ask for one program, whose channel is the descriptor `channel`."""
    socket.send_fds(sock, [_LIMITS.pack(*bounds)], [channel])


def receive_request(sock: socket.socket) -> tuple[Bounds, int] | None:
    """The next one; None when the parent has closed."""
    data, ancillary, _, _ = sock.recvmsg(_LIMITS.size, _ONE_DESCRIPTOR)
    if not data or not ancillary:
        return None
    return Bounds(*_LIMITS.unpack(data)), int.from_bytes(ancillary[0][2], sys.byteorder)


def send_descriptor(sock: socket.socket, descriptor: int) -> None:
    """Send one by itself."""
    socket.send_fds(sock, [b"!"], [descriptor])


def receive_descriptor(sock: socket.socket) -> int:
    """The one that is sent by itself. Raises OSError if none comes."""
    _, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
    if not descriptors:
        raise OSError("a descriptor did not come")
    return descriptors[0]


def send_ending(sock: socket.socket, reason: str, cpu: float, waited: float, last: bool = False) -> None:
    """Tell how a program ended."""
    sock.sendall(_ENDING.pack(reason.encode(), cpu, waited, last))


def receive_ending(sock: socket.socket) -> Ending | None:
    """How it ended; None when the worker has closed."""
    data = _read(sock, _ENDING.size)
    if data is None:
        return None
    reason, *rest = _ENDING.unpack(data)
    return Ending(reason.rstrip(b"\0").decode(), *rest)


def pack_program(code: str, calls: list[str], start: int, output_characters: int) -> bytes:
    """A program as its channel carries it. Marshal, since what reads it is this same Python, and believes its parent."""
    return marshal.dumps((code, calls, start, output_characters))


def read_program(channel: int) -> tuple[str, list[str], int, int]:
    """Code, calls, the first to be made, and how much output is kept. Raises EOFError when the parent has gone."""
    data = read(channel, 1 << 15)
    while True:
        try:
            program: tuple[str, list[str], int, int] = marshal.loads(data)  # noqa: S302
            return program
        except EOFError:  # too short
            part = read(channel, 1 << 20)
            if not part:
                raise
            data += part


def _read(sock: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
