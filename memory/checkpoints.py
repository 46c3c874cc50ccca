"""Checkpointers: SQLite in the home folder, or PostgreSQL by URL. Only plain data is ever rebuilt from a checkpoint.

LangGraph by default rebuilds whatever class a checkpoint names, so that a crafted file runs code; here it is refused.
"""

import os
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver

from settings import Settings

COMPRESSED = "+zlib"


class CheckpointsUnavailable(RuntimeError):
    """The checkpoint database cannot be reached, opened or read."""


class StrictSerializer(JsonPlusSerializer):
    """Messages and plain data only, no other class and no pickle; compressed, since each step keeps the whole queue."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None, pickle_fallback=False)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        kind, data = super().dumps_typed(obj)
        return f"{kind}{COMPRESSED}", zlib.compress(data, level=1)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, body = data
        if not kind.endswith(COMPRESSED):
            raise ValueError(f"A checkpoint of type {kind!r} was not written by this project: it is not read.")
        return super().loads_typed((kind.removesuffix(COMPRESSED), zlib.decompress(body)))


@contextmanager
def open_checkpointer(settings: Settings) -> Iterator[BaseCheckpointSaver[str]]:
    """The checkpointer that the settings name. Raises CheckpointsUnavailable."""
    if url := settings.database_url.get_secret_value():
        with _postgres(url) as saver:
            yield saver
        return
    path = _database(settings)
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        sqlite = SqliteSaver(connection, serde=StrictSerializer())
        try:
            sqlite.setup()
        except sqlite3.DatabaseError as error:
            raise _damaged(path, error) from error
        yield sqlite
    finally:
        connection.close()


@asynccontextmanager
async def open_async_checkpointer(settings: Settings) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """The same, for the event loop of `langgraph dev`."""
    if url := settings.database_url.get_secret_value():
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        async with AsyncPostgresSaver.from_conn_string(url, serde=StrictSerializer()) as saver:
            await saver.setup()
            yield saver
        return
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    path = _database(settings)
    async with aiosqlite.connect(path) as connection:
        sqlite = AsyncSqliteSaver(connection, serde=StrictSerializer())
        try:
            await sqlite.setup()
        except sqlite3.DatabaseError as error:
            raise _damaged(path, error) from error
        yield sqlite


@contextmanager
def _postgres(url: str) -> Iterator[BaseCheckpointSaver[str]]:
    from langgraph.checkpoint.postgres import PostgresSaver  # the extra `postgres`
    from psycopg import Connection, OperationalError
    from psycopg.rows import dict_row

    try:
        connection = Connection.connect(url, autocommit=True, prepare_threshold=0, row_factory=dict_row)
    except OperationalError as error:
        raise CheckpointsUnavailable(
            f"PostgreSQL does not answer ({error}). Start it, correct PALIMPSEST_DATABASE_URL, or unset it to keep the "
            "checkpoints in a file."
        ) from None  # the chain would show the URL with its password
    with connection:
        saver = PostgresSaver(connection, serde=StrictSerializer())
        saver.setup()
        yield saver


def _database(settings: Settings) -> Path:
    """The SQLite file, made for its owner alone before SQLite opens it."""
    path = settings.folder / "checkpoints.sqlite"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)
    return path


def _damaged(path: Path, error: Exception) -> CheckpointsUnavailable:
    return CheckpointsUnavailable(
        f"The checkpoints in {path} cannot be read ({error}). Restore the file from a backup, or move it away: "
        "conversations then start with an empty window, and everything said is still in recall storage."
    )


# ---- forgetting ------------------------------------------------------------------------------------------------------

ASIDE = "forgetting:"
"""Before the name of a thread whose last checkpoint is put aside while the others go: a crash in between loses nothing."""


def thread_ids(saver: BaseCheckpointSaver[str]) -> list[str]:
    """The names of all threads, once each; what a forget had put aside when it was cut off is back at its place first."""
    found = dict.fromkeys(_names(saver))
    for aside in [name for name in found if name.startswith(ASIDE)]:
        name = aside.removeprefix(ASIDE)
        if name not in found:
            _copy(saver, aside, name)
            found[name] = None
        saver.delete_thread(aside)
        del found[aside]
    return list(found)


def _names(saver: BaseCheckpointSaver[str]) -> Iterator[str]:
    if isinstance(saver, SqliteSaver):  # of others each checkpoint is read whole
        with saver.cursor(transaction=False) as cursor:
            yield from (
                str(name) for (name,) in cursor.execute("SELECT DISTINCT thread_id FROM checkpoints").fetchall()
            )
        return
    yield from (str(kept.config["configurable"]["thread_id"]) for kept in saver.list(None))


def last_values(saver: BaseCheckpointSaver[str], thread_id: str) -> dict[str, Any]:
    """The state of a thread at its last checkpoint."""
    kept = saver.get_tuple({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    return dict(kept.checkpoint["channel_values"]) if kept else {}


def histories(saver: BaseCheckpointSaver[str], thread_id: str) -> Iterator[Any]:
    """All that the checkpoints of a thread hold, those of machines inside it too."""
    for kept in saver.list({"configurable": {"thread_id": thread_id}}):
        yield kept.checkpoint["channel_values"]
        yield [value for _, _, value in kept.pending_writes or []]


def keep_last_as(saver: BaseCheckpointSaver[str], thread_id: str, values: dict[str, Any]) -> None:
    """Leave a thread with one checkpoint, its last, whose state is `values`; a turn that was cut off can still go on."""
    _copy(saver, thread_id, f"{ASIDE}{thread_id}", values)
    saver.delete_thread(thread_id)
    _copy(saver, f"{ASIDE}{thread_id}", thread_id)
    saver.delete_thread(f"{ASIDE}{thread_id}")


def _copy(saver: BaseCheckpointSaver[str], source: str, target: str, values: dict[str, Any] | None = None) -> None:
    kept = saver.get_tuple({"configurable": {"thread_id": source, "checkpoint_ns": ""}})
    if kept is None:
        raise KeyError(source)
    checkpoint = kept.checkpoint if values is None else {**kept.checkpoint, "channel_values": values}
    where: Any = {"configurable": {"thread_id": target, "checkpoint_ns": ""}}
    saver.put(where, checkpoint, kept.metadata, checkpoint["channel_versions"])


def purge_checkpoints(saver: BaseCheckpointSaver[str]) -> list[str]:
    """Write the database anew without what was deleted; returns what cannot be seen to here."""
    if not isinstance(saver, SqliteSaver):
        return ["the files of PostgreSQL, where `VACUUM FULL` clears deleted rows, and its backups"]
    with saver.lock:
        saver.conn.commit()
        saver.conn.execute("VACUUM")
        saver.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return []
