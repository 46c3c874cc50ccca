"""Frames between the parent and its workers: a JSON head, and raw bytes that only the parent reads. Standard library only."""

import json
import socket
import struct
from typing import Any

MOST_BYTES = 64 << 20


def write_frame(sock: socket.socket, head: dict[str, Any], raw: bytes = b"") -> None:
    """Send one frame."""
    data = json.dumps(head).encode()
    sock.sendall(struct.pack("!II", len(data), len(raw)) + data + raw)


def read_frame(sock: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """The next frame; None when the other side has closed. Raises OSError and ValueError for a broken one."""
    lengths = _read(sock, 8)
    if lengths is None:
        return None
    head_size, raw_size = struct.unpack("!II", lengths)
    if head_size + raw_size > MOST_BYTES:
        raise ValueError(f"a frame of {head_size + raw_size} bytes")
    head, raw = _read(sock, head_size), _read(sock, raw_size)
    if head is None or raw is None:
        return None
    return json.loads(head), raw


def _read(sock: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
