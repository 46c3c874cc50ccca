"""The process that has an embedded memory open serves those that find it so: where, with which token, and how they ask it."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, cast

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.server.fastmcp import Context
from mcp.server.fastmcp.exceptions import ToolError
from mcp.shared.context import RequestContext
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult, TextContent

from settings import Settings

AGENT_HEADER = "x-palimpsest-agent"
FILE = "mcp_server.json"


class OwnerGone(Exception):
    """Nobody listens where an owner has said to be."""


@dataclass(frozen=True)
class Owner:
    """Where the process listens, on this machine only, and the token that it asks for."""

    url: str
    token: str
    process: int


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(32)


@contextmanager
def announced(owner: Owner, settings: Settings) -> Iterator[None]:
    """While it serves, others of this user find it by a file beside the memory."""
    path = settings.folder / FILE
    with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        json.dump(asdict(owner), file)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def owner_of(settings: Settings) -> Owner | None:
    """The process that has the memory open and serves it; None if there is none.

    One that was killed leaves its file, and its port to anybody: so it must be the one whose number stands in the memory's lock.
    """
    path, lock = settings.folder / FILE, settings.folder / "memory" / "lock"
    if not path.exists() or not lock.exists():
        return None
    owner = Owner(**json.loads(path.read_text()))
    return owner if lock.read_text().strip() == str(owner.process) else None


async def forward(owner: Owner, agent: str, tool: str, arguments: dict[str, Any], asker: Context[Any, Any, Any]) -> Any:
    """The tool's result from the owner; what it asks the person is asked here.

    Raises ToolError as the tool does, and OwnerGone if nobody listens there any more.
    """

    async def ask(context: RequestContext[ClientSession, Any], params: ElicitRequestParams) -> ElicitResult:
        if not isinstance(params, ElicitRequestFormParams):
            return ElicitResult(action="decline")
        session = asker.session
        return cast(ElicitResult, await session.elicit_form(params.message, params.requestedSchema, asker.request_id))

    headers = {"Authorization": f"Bearer {owner.token}", AGENT_HEADER: agent}
    try:
        async with (
            streamablehttp_client(owner.url, headers) as (read, write, _),
            ClientSession(read, write, elicitation_callback=ask) as session,
        ):
            await session.initialize()
            result = await session.call_tool(tool, arguments)
    except* (httpx.TransportError, httpx.HTTPStatusError) as error:
        raise OwnerGone from error
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    if result.isError:
        raise ToolError(text)
    return result.structuredContent["result"] if result.structuredContent else text
