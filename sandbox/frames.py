"""Frames between the parent and its workers: 4 bytes of length, then JSON. Standard library only."""

import json
import socket
import struct
from typing import Any

MOST_BYTES = 64 << 20


def write_frame(sock: socket.socket, head: dict[str, Any]) -> None:
    """Send one frame."""
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


def _read(sock: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
