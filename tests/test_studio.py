"""`langgraph dev`, offline and without --allow-blocking: create a thread, run, stream, read state and history, fork."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client

from runtime import open_runtime
from settings import Settings
from tasks.lookup import find_task
from tests.models.fake_openai import FakeOpenAI, fake_openai, writes

ROOT = Path(__file__).parent.parent
ROOMS = (
    "graphs",
    "nodes",
    "memory",
    "models",
    "sandbox",
    "tasks",
    "intervals.py",
    "runtime.py",
    "studio.py",
    "settings.py",
    "text.py",
    "langgraph.json",
    "pyproject.toml",
    "README.md",
)


@pytest.fixture
def endpoint() -> Iterator[FakeOpenAI]:
    with fake_openai() as fake:
        yield fake


@pytest.fixture
def server(tmp_path: Path, home: Path, endpoint: FakeOpenAI) -> Iterator[str]:
    """The development server on a copy of the project: it keeps files of its own in the current folder."""
    for name in ROOMS:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "langgraph_cli", "dev", "--port", str(port), "--no-browser", "--no-reload"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PALIMPSEST_HOME": str(home),
            "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            "PALIMPSEST_MODEL": "offline",
            "OPENAI_BASE_URL": endpoint.url,
        },
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        for _ in range(300):
            if process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ok", timeout=1)
                break
            except OSError:
                time.sleep(0.3)
        else:
            pytest.fail(f"langgraph dev does not answer:\n{(tmp_path / 'log').read_text()[-3_000:]}")
        assert process.poll() is None, (tmp_path / "log").read_text()[-3_000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)
        log.close()


def test_studio_serves_the_same_graph_store_and_checkpoints(server: str, home: Path, endpoint: FakeOpenAI) -> None:
    client = get_sync_client(url=server)
    solve_and_step_in(client, endpoint)
    collaborate_and_answer(client, endpoint)
    assistant = client.assistants.search(graph_id="memgpt")[0]["assistant_id"]
    context_schema = client.assistants.get_schemas(assistant)["context_schema"]
    assert context_schema is not None
    assert "window" in context_schema["properties"]
    thread = client.threads.create()["thread_id"]
    options = {"assistant_id": assistant, "context": {"agent": "ada", "model": "offline"}}

    def message(text: str) -> dict[str, list[dict[str, str]]]:
        return {"messages": [{"role": "user", "content": text}]}

    said = client.runs.wait(thread, input=message("My cat is called Byron."), **options)  # type: ignore[call-overload]
    assert "I have kept that" in said["replies"][0]
    parts = list(
        client.runs.stream(  # type: ignore[call-overload]
            thread, input=message("What is my cat called?"), stream_mode=["updates", "messages-tuple"], **options
        )
    )
    assert {"act", "think"} <= {name for part in parts if part.event == "updates" for name in part.data}
    assert any(part.event == "messages" for part in parts)

    state = client.threads.get_state(thread)
    assert "> My cat is called Byron." in state["values"]["replies"][0]  # type: ignore[call-overload]
    history = client.threads.get_history(thread, limit=50)
    assert len(history) > 8
    before = next(s for s in history if s["next"] == ["think"])
    forked = client.threads.update_state(
        thread, {"summary": "A fork."}, checkpoint_id=before["checkpoint"]["checkpoint_id"], as_node="page"
    )
    assert forked["checkpoint"]["checkpoint_id"] != before["checkpoint"]["checkpoint_id"]
    assert client.threads.get_state(thread)["values"]["summary"] == "A fork."  # type: ignore[call-overload]

    kept = client.store.search_items(("ada", "passage"))["items"]
    assert [item["value"]["text"] for item in kept] == ["My cat is called Byron."]
    refused = client.runs.wait(thread, input=message(" "), **options)  # type: ignore[call-overload]
    assert refused["stop"] == "refused"
    assert (home / "memory").is_dir()
    with open_runtime(Settings(home=home)) as runtime:  # beside it
        assert runtime.store.client.is_shared
        assert [i.value["text"] for i in runtime.store.all(("ada", "passage"))] == ["My cat is called Byron."]


def solve_and_step_in(client: Any, endpoint: FakeOpenAI) -> None:
    """Each solver runs; one is paused, edited and resumed."""
    endpoint.turns = [writes("def f():\n    return 1"), writes("def f():\n    return 2"), writes("42"), writes("fine")]
    thread = client.threads.create()["thread_id"]
    context = {"agent": "ada", "model": "fake", "tests": "assert f() == 2"}
    client.runs.wait(thread, "self_refine", input={"task": "Write f."}, context=context, interrupt_after=["critique"])
    state = client.threads.get_state(thread)
    assert state["next"] == ["revise"]
    drafts = state["values"]["drafts"]
    assert "got 1" in drafts[0]["critique"]
    client.threads.update_state(thread, {"drafts": [{**drafts[0], "critique": "Return two."}]})
    done = client.runs.wait(thread, "self_refine", input=None, context=context)
    assert done["stop"] == "accepted"
    assert "Return two." in str(endpoint.requests[-1]["messages"])
    for name, wanted in (("react", "42"), ("reflexion", "fine")):
        context = {
            "agent": "ada",
            "model": "fake",
            **({"evaluator": "exact", "expected": "fine"} if name == "reflexion" else {}),
        }
        done = client.runs.wait(client.threads.create()["thread_id"], name, input={"task": "Say it."}, context=context)
        assert done["answer"] == wanted


def collaborate_and_answer(client: Any, endpoint: FakeOpenAI) -> None:
    """A person at Studio is waited for, answers, and the hidden tests score; the reference is in no state."""
    task = find_task("own-backend/train/3/1", Settings())
    endpoint.turns = [writes("What is missing?"), writes(f"I WANT TO ANSWER:\n```python\n{task.ground_truth}\n```")]
    thread = client.threads.create()["thread_id"]
    context = {"agent": "ada", "model": "fake", "person": "human"}
    first = client.runs.wait(thread, "collaborate", input={"task": task.task_id}, context=context)
    assert first["__interrupt__"][0]["value"]["said"] == "What is missing?"
    assert client.threads.get_state(thread)["next"] == ["reply"]
    hidden = [fact.statement for fact in task.facts]
    assert not any(text in str(client.threads.get_history(thread)) for text in [*hidden, task.ground_truth])
    done = client.runs.wait(thread, "collaborate", command={"resume": "Leave it out."}, context=context)
    assert [turn["content"] for turn in done["turns"]][1] == "Leave it out."
    assert (done["score"], done["success"], done["trajectory"]["person"]) == (1.0, True, "human")
