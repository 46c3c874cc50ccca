"""An agent's memory over MCP, asked by the reference client: both transports, beside an open page, and after its death."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import ElicitResult, TextContent

from graphs.memgpt import Context
from memory.archival import Archival
from memory.recall import Recall
from models.scripted import call
from runtime import Runtime, open_runtime
from settings import Settings
from tests.graphs.test_memgpt import play

ROOT = Path(__file__).parent.parent
Answer = Callable[[str], ElicitResult]


def yes(asked: str) -> ElicitResult:
    return ElicitResult(action="accept", content={"forget": True})


def no(asked: str) -> ElicitResult:
    return ElicitResult(action="decline")


def environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PALIMPSEST_HOME": str(home), "PALIMPSEST_MODEL": "offline"}


def answering(answer: Answer | None, asked: list[str]) -> Any:
    if answer is None:
        return None

    async def ask(context: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return answer(params.message)

    return ask


@contextlib.asynccontextmanager
async def by_stdio(
    home: Path, answer: Answer | None = None, asked: list[str] | None = None
) -> AsyncIterator[ClientSession]:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_server", "--agent", "ada"], env=environment(home), cwd=str(ROOT)
    )
    asks = answering(answer, asked if asked is not None else [])
    async with stdio_client(server) as (read, write), ClientSession(read, write, elicitation_callback=asks) as session:
        await session.initialize()
        yield session


async def ask(session: ClientSession, tool: str, **arguments: Any) -> Any:
    """A tool's result; its error as text that begins so."""
    result = await session.call_tool(tool, arguments)
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    if result.isError:
        return f"error: {text}"
    return result.structuredContent["result"] if result.structuredContent else text


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 120))


@pytest.fixture
def kept(home: Path) -> Path:
    """A memory that something is in, and nobody has open."""
    with open_runtime(Settings(home=home)) as runtime:
        play(runtime, call("send_message", message="Noted."), text="My cat is called Byron.", thread="t")
        Archival(runtime.store, "ada").insert("Ada's sister Odile keeps bees in Ravenna.")
    return home


def test_by_stdio_it_is_searched_kept_and_forgotten(kept: Path) -> None:
    asked: list[str] = []

    async def work() -> None:
        async with by_stdio(kept, yes, asked) as session:
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert set(tools) == {"search_memory", "keep_memory", "forget_memory"}
            hint = tools["forget_memory"].annotations
            assert hint
            assert hint.destructiveHint
            (first, *_) = await ask(session, "search_memory", query="What is my cat called?")
            assert (first["text"], first["kind"], first["trust"]) == ("My cat is called Byron.", "message", "own")
            assert await ask(session, "keep_memory", text="Ada moved to Porto.") == "Kept."
            assert "already" in await ask(session, "keep_memory", text="Ada moved to Porto!")
            found = await ask(session, "search_memory", query="Where did Ada move?", limit=1)
            assert [(each["text"], each["trust"]) for each in found] == [("Ada moved to Porto.", "outside")]
            assert "Nothing of it is left." in await ask(session, "forget_memory", words="Odile")
            assert "Nothing that this tool may see" in await ask(session, "forget_memory", words="Odile")
            for tool, wrong in (
                ("search_memory", {"query": " "}),
                ("keep_memory", {"text": ""}),
                ("forget_memory", {"words": ""}),
            ):
                assert "error" in await ask(session, tool, **wrong)

    run(work())
    (question,) = asked
    assert "Forget for good all that holds 'Odile', such as: Ada's sister Odile keeps bees in Ravenna." in question
    with open_runtime(Settings(home=kept)) as runtime:
        assert [i.value["text"] for i in Archival(runtime.store, "ada").newest().items] == ["Ada moved to Porto."]


def test_nothing_is_forgotten_without_a_yes(kept: Path) -> None:
    async def work() -> None:
        async with by_stdio(kept, no) as session:
            assert "did not agree" in await ask(session, "forget_memory", words="Byron")
        async with by_stdio(kept) as session:
            assert "cannot ask the person" in await ask(session, "forget_memory", words="Byron")

    run(work())
    with open_runtime(Settings(home=kept)) as runtime:
        assert Recall(runtime.store, "ada").search("Byron").total == 1


@pytest.fixture
def owner(kept: Path) -> Iterator[Runtime]:
    """As the page has it: open here."""
    with open_runtime(Settings(home=kept)) as runtime:
        yield runtime


def test_beside_an_open_page_it_works_the_same(owner: Runtime) -> None:
    asked: list[str] = []

    async def work() -> None:
        async with by_stdio(owner.settings.folder, yes, asked) as session:
            assert (await ask(session, "search_memory", query="Who keeps bees?"))[0]["text"].startswith(
                "Ada's sister Odile"
            )
            assert await ask(session, "keep_memory", text="Ada moved to Porto.") == "Kept."
            assert "Nothing of it is left." in await ask(session, "forget_memory", words="Odile")

    run(work())
    assert len(asked) == 1
    assert [i.value["text"] for i in Archival(owner.store, "ada").newest().items] == ["Ada moved to Porto."]
    play(owner, call("send_message", message="Ok."), text="The page goes on.", thread="t")


def test_private_conversations_are_not_seen(owner: Runtime) -> None:
    owner.run("memgpt", "p", "My cat is called xylophone.", Context(agent="ada", model="offline", private=True))
    note = "The vault code is xylophone."
    Archival(owner.store, "ada").insert(note, thread="p")
    asked: list[str] = []

    async def work() -> None:
        async with by_stdio(owner.settings.folder, yes, asked) as session:
            assert "xylophone" not in repr(await ask(session, "search_memory", query="What is the vault code?"))
            unknown = await ask(session, "forget_memory", words="zzz")
            assert await ask(session, "forget_memory", words="xylophone") == unknown, "no answer tells what is held"
            assert await ask(session, "keep_memory", text=note) == "Kept."

    run(work())
    assert asked == []
    assert Recall(owner.store, "ada").search("xylophone").total > 0


OWNER = """
import sys, time
from pathlib import Path
from runtime import open_runtime
with open_runtime() as runtime:
    print("open", flush=True)
    time.sleep(600)
"""


def test_when_the_owner_is_killed_nothing_is_lost_and_the_next_call_goes_on(kept: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, env=environment(kept), stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout
        assert owner.stdout.readline() == "open\n"

        async def work() -> None:
            async with by_stdio(kept) as session:
                assert await ask(session, "keep_memory", text="Ada moved to Porto.") == "Kept."
                owner.kill()
                owner.wait()
                found = await ask(session, "search_memory", query="Where did Ada move?")
                assert found[0]["text"] == "Ada moved to Porto."

        run(work())
    finally:
        owner.kill()


def test_over_http_with_the_token_that_it_prints(kept: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "mcp_server", "--agent", "ada", "--http", "0"], cwd=ROOT, env=environment(kept),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout
        url, token = server.stdout.readline().strip(), server.stdout.readline().strip().removeprefix("Authorization: ")
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+/mcp", url)

        async def work() -> None:
            end = time.monotonic() + 30
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    assert httpx.post(url).status_code == 401
                    break
                assert time.monotonic() < end
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            for wrong in ("Bearer x", "", token[:-1]):
                assert httpx.post(url, json=body, headers={"Authorization": wrong}).status_code == 401
            rebound = httpx.post(url, json=body, headers={"Authorization": token, "Host": "evil.example"})
            assert rebound.status_code in (403, 421)
            headers = {"Authorization": token}
            async with (
                streamablehttp_client(url, headers) as (read, write, _),
                ClientSession(read, write, elicitation_callback=answering(yes, [])) as session,
            ):
                await session.initialize()
                assert len((await session.list_tools()).tools) == 3
                assert (await ask(session, "search_memory", query="cat"))[0]["text"] == "My cat is called Byron."
                assert await ask(session, "keep_memory", text="Ada moved to Porto.") == "Kept."
                assert "Forgotten" in await ask(session, "forget_memory", words="Porto")

        run(work())
    finally:
        server.kill()
