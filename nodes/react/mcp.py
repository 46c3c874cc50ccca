"""Tools of MCP servers as LangChain tools (langchain-mcp-adapters).

A server is named by its URL, or by the name that the settings give to the command that starts it: a context may come from
a browser, and must not be able to start any program.
"""

import asyncio
import os
import shlex
import threading
from collections.abc import Coroutine, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from langchain_core.tools import BaseTool

T = TypeVar("T")
CONNECT_SECONDS = 30.0
URLS = ("http://", "https://")
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
"""What a server that is started here sees of the environment: no keys."""


class ServerUnreachable(ValueError):
    """An MCP server that does not answer, or a command that cannot be run."""


def mcp_tools(address: str, commands: Mapping[str, str]) -> tuple[BaseTool, ...]:
    """The tools that a server lists: at a URL, or started by one of `commands`. Raises ServerUnreachable."""
    if not address.startswith(URLS) and address not in commands:
        names = ", ".join(commands) or "none yet"
        raise ServerUnreachable(
            f"There is no MCP server {address[:80]!r}: give a URL, or one of the names in PALIMPSEST_MCP_SERVERS ({names})."
        )
    return _listed(address, commands.get(address, ""))


@lru_cache(maxsize=32)
def _listed(address: str, command: str) -> tuple[BaseTool, ...]:
    from langchain_mcp_adapters.client import MultiServerMCPClient

    connection = _connection(address, command)
    client = MultiServerMCPClient({"server": connection})  # type: ignore[dict-item]
    try:
        return tuple(in_thread(asyncio.wait_for(client.get_tools(), CONNECT_SECONDS)))
    except Exception as error:  # a group of whatever the transport and the server raise
        reason = _innermost(error)
        raise ServerUnreachable(
            f"The MCP server {address!r} gave no tools ({type(reason).__name__}: {str(reason)[:200]}): check that it runs."
        ) from error


def in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in an event loop of its own: the caller may stand in one, as in a notebook."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(asyncio.run(work))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _connection(address: str, command: str) -> dict[str, Any]:
    if address.startswith(URLS):
        return {"transport": "streamable_http", "url": address}
    words = shlex.split(command)
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"transport": "stdio", "command": words[0], "args": words[1:], "env": environment}


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error
