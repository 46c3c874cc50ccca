"""Checkpointers: for their owner alone, plain data only, and clear about damage."""

import os
import sqlite3
import stat
import uuid
import zlib
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_POS_ARGS, JsonPlusSerializer

from memory.checkpoints import CheckpointsUnavailable, StrictSerializer, open_checkpointer
from settings import Settings


def test_checkpoints_are_for_their_owner_alone(tmp_path: Path) -> None:
    with open_checkpointer(Settings(home=tmp_path / "h")):
        assert stat.S_IMODE((tmp_path / "h").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "h" / "checkpoints.sqlite").stat().st_mode) == 0o600


def test_a_damaged_checkpoint_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    path.write_bytes(b"this is no database" * 500)
    with (
        pytest.raises(CheckpointsUnavailable, match=r"checkpoints\.sqlite cannot be read.*move it away"),
        open_checkpointer(Settings(home=tmp_path)),
    ):
        pass
    assert path.read_bytes().startswith(b"this is no database")


def test_a_crafted_checkpoint_runs_nothing(tmp_path: Path) -> None:
    serializer = StrictSerializer()
    kept = serializer.loads_typed(serializer.dumps_typed({"m": HumanMessage("hi"), "n": [1, None, "x"]}))
    assert kept["m"].content == "hi"
    target = tmp_path / "was-run"
    payload = ormsgpack.packb(("os", "system", (f"touch {target}",)))
    crafted = ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_POS_ARGS, payload))
    serializer.loads_typed(("msgpack+zlib", zlib.compress(crafted)))
    assert not target.exists()
    JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(("msgpack", crafted))
    assert target.exists(), "LangGraph's own default runs it: the payload is a real one"
    with pytest.raises(ValueError, match="was not written by this project"):
        serializer.loads_typed(("pickle", b"x"))


def test_an_unreachable_postgresql_says_what_to_do_and_not_its_password(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://ada:secret-word@127.0.0.1:9/x")
    with pytest.raises(CheckpointsUnavailable, match="PALIMPSEST_DATABASE_URL") as error, open_checkpointer(settings):
        pass
    assert "secret-word" not in str(error.value)


@pytest.mark.skipif("TEST_DATABASE_URL" not in os.environ, reason="no PostgreSQL to test with")
def test_postgresql_keeps_checkpoints(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=os.environ["TEST_DATABASE_URL"])
    thread: Any = {"configurable": {"thread_id": uuid.uuid4().hex, "checkpoint_ns": ""}}
    for _ in range(2):
        with open_checkpointer(settings) as saver:
            saver.put(thread, empty_checkpoint(), {"source": "input", "step": 0, "parents": {}}, {})
    with open_checkpointer(settings) as saver:
        assert len(list(saver.list(thread))) == 2


def test_sqlite_file_is_a_plain_database(tmp_path: Path) -> None:
    with open_checkpointer(Settings(home=tmp_path)):
        pass
    names = {
        row[0] for row in sqlite3.connect(tmp_path / "checkpoints.sqlite").execute("SELECT name FROM sqlite_master")
    }
    assert {"checkpoints", "writes"} <= names
