"""Serving over HTTP on this machine: only to those who have the token."""

import secrets
import socket
from typing import Any

import uvicorn
from mcp.server.fastmcp import FastMCP
from starlette.responses import PlainTextResponse

HOST = "127.0.0.1"


class NeedsToken:
    """Lets requests through that bear the token."""

    def __init__(self, app: Any, token: str) -> None:
        self._app, self._expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not secrets.compare_digest(given, self._expected):
                await PlainTextResponse("Give the token: Authorization: Bearer …", 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def http_server(server: FastMCP, token: str) -> uvicorn.Server:
    """A server that is still to be run, on a socket of `listen`."""
    return uvicorn.Server(uvicorn.Config(NeedsToken(server.streamable_http_app(), token), log_level="warning"))


def listen(port: int) -> tuple[socket.socket, str]:
    """A socket of this machine, and its URL; port 0: any that is free. Raises OSError if the port is taken."""
    listener = socket.create_server((HOST, port))
    return listener, f"http://{HOST}:{listener.getsockname()[1]}/mcp"
