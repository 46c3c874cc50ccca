"""Serving over HTTP on this machine: only to those who have the token."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import uvicorn
from mcp.server.fastmcp import FastMCP
from starlette.responses import PlainTextResponse

from mcp_server.memory_tools import MemoryTools, memory_server
from mcp_server.owner import Owner, announced, new_token
from runtime import Runtime

HOST = "127.0.0.1"
STARTS_IN = 20.0  # seconds


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


@contextmanager
def serving(runtime: Runtime) -> Iterator[Owner]:
    """Serve the memories of this runtime's agents to other processes of this user, in the background."""
    token = new_token()
    tools = MemoryTools(lambda: nullcontext(runtime))
    web = http_server(memory_server(tools, "", runtime.settings), token)
    listener, url = listen(0)
    thread = threading.Thread(target=web.run, args=([listener],), daemon=True, name="mcp_server")
    thread.start()
    end = time.monotonic() + STARTS_IN
    while not web.started:
        if time.monotonic() > end or not thread.is_alive():
            raise RuntimeError("The MCP server of this memory did not start.")
        time.sleep(0.02)
    owner = Owner(url, token, os.getpid())
    try:
        with announced(owner, runtime.settings):
            yield owner
    finally:
        web.should_exit = True
        thread.join()
        listener.close()
