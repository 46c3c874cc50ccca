"""One embedded memory, several processes: each runs its turns, no two in one conversation, and a kill of any loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from graphs.memgpt import Context
from memory.forget import Target
from memory.recall import Recall
from memory.turns import ThreadBusy
from models.scripted import PolicyModel, call
from nodes.forget import Forgetting
from runtime import Runtime, open_runtime
from settings import Settings
from tests.graphs.test_memgpt import play

ROOT = Path(__file__).parent.parent

SCRIPT = """
import json, sys, time
import memory.store
from graphs.memgpt import Context
from memory.forget import Target
from memory.turns import ThreadBusy
from models.scripted import PolicyModel, call
from runtime import open_runtime
from tests.conftest import WordEmbedder

memory.store.open_embedder = lambda settings: WordEmbedder()
slow = []

def reply(prompt):
    time.sleep(slow.pop() if slow else 0)
    return call("send_message", message="Heard.")

context = Context(agent="ada", model=PolicyModel(policy=reply))
with open_runtime() as runtime:
    print(json.dumps(runtime.store.client.is_owner), flush=True)
    for line in sys.stdin:
        what, *rest = json.loads(line)
        try:
            if what == "say":
                thread, text, wait = rest
                slow.append(wait)
                told = runtime.run("memgpt", thread, text, context)["replies"]
            else:
                told = runtime.forget("ada", Target(text=rest[0])).left
        except (ThreadBusy, ValueError) as error:
            told = f"{type(error).__name__}: {error}"
        print(json.dumps(told), flush=True)
"""


class Process:
    """Another process with the memory open, which does what it is told."""

    def __init__(self, home: Path) -> None:
        environment = {**os.environ, "PALIMPSEST_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.is_owner = self.answer()

    def ask(self, *what: Any) -> None:
        assert self.process.stdin
        print(json.dumps(what), file=self.process.stdin, flush=True)

    def answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def do(self, *what: Any) -> Any:
        self.ask(*what)
        return self.answer()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def other(runtime: Runtime) -> Iterator[Process]:
    """A process beside this one, which was here first."""
    process = Process(runtime.settings.folder)
    yield process
    process.kill()


def said(runtime: Runtime, text: str) -> int:
    return Recall(runtime.store, "ada").search(text).total


def wait_for(runtime: Runtime, text: str) -> None:
    end = time.monotonic() + 20
    while not said(runtime, text):
        assert time.monotonic() < end


def test_a_second_process_runs_turns_and_finishes_what_the_first_was_killed_at(
    runtime: Runtime, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not other.is_owner
    assert other.do("say", "there", "My cat is called Byron.", 0) == ["Heard."]
    assert said(runtime, "Byron") == 1
    state, _ = play(runtime, call("send_message", message="I know."), text="And mine Shelley.", thread="there")
    assert [m.text for m in state["messages"] if "Byron" in m.text], "the window of the same conversation"
    assert other.do("say", "there", "Good.", 0) == ["Heard."]
    with monkeypatch.context() as broken:  # as if this process had died behind the journal
        broken.setattr(Forgetting, "_carry_out", lambda self, marks: None)
        runtime.forget("ada", Target(text="Shelley"))
    assert said(runtime, "Shelley") == 1
    assert other.do("say", "elsewhere", "Hello.", 0) == ["Heard."]
    assert said(runtime, "Shelley") == 0


def test_no_two_processes_run_a_turn_in_one_conversation(runtime: Runtime, other: Process) -> None:
    other.ask("say", "shared", "Wait a little.", 3.0)
    wait_for(runtime, "Wait a little")
    context = Context(agent="ada", model=PolicyModel(policy=lambda prompt: call("send_message", message="Ok.")))
    with pytest.raises(ThreadBusy, match="has a turn under way"):
        runtime.run("memgpt", "shared", "Me too.", context)
    with pytest.raises(ThreadBusy, match="under way"):
        runtime.forget("ada", Target(text="little"))
    assert runtime.run("memgpt", "another", "Hello.", context)["replies"] == ["Ok."]
    assert other.answer() == ["Heard."]
    assert runtime.run("memgpt", "shared", "Me too.", context)["replies"] == ["Ok."]
    assert runtime.forget("ada", Target(text="little")).left == []
    assert other.do("forget", "Hello") == []
    assert said(runtime, "Hello") == 0


def test_a_process_that_is_killed_in_its_turn_blocks_nobody(runtime: Runtime, other: Process) -> None:
    other.ask("say", "shared", "Wait for ever.", 600.0)
    wait_for(runtime, "Wait for ever")
    other.kill()
    end = time.monotonic() + 20
    context = Context(agent="ada", model=PolicyModel(policy=lambda prompt: call("send_message", message="Ok.")))
    while True:
        with suppress(ThreadBusy):
            state = runtime.run("memgpt", "shared", None, context)
            break
        assert time.monotonic() < end
    assert state["replies"] == ["Ok."]
    assert said(runtime, "Wait for ever") == 1


def test_when_the_owner_is_killed_in_a_turn_the_other_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.conftest import WordEmbedder

    monkeypatch.setattr("memory.store.open_embedder", lambda settings: WordEmbedder())
    owner = Process(home)
    assert owner.is_owner
    owner.do("say", "theirs", "My cat is called Byron.", 0)
    with open_runtime(Settings(home=home)) as runtime:
        owner.ask("say", "theirs", "Wait for ever.", 600.0)

        def kills(prompt: list[BaseMessage]) -> Any:
            owner.kill()
            return call("archival_memory_insert", content="Shelley is a dog.", request_heartbeat=True)

        state, _ = play(runtime, kills, call("send_message", message="Kept."), text="Note it.", thread="mine")
        assert state["replies"] == ["Kept."]
        assert said(runtime, "Byron") == 1
        assert said(runtime, "Wait for ever") == 1
        context = Context(agent="ada", model=PolicyModel(policy=lambda prompt: call("send_message", message="Ok.")))
        assert runtime.run("memgpt", "theirs", None, context)["replies"] == ["Ok."]
        later = Process(home)
        assert not later.is_owner
        assert later.do("say", "theirs", "Are you there?", 0) == ["Heard."]
        later.kill()
