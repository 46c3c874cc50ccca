"""The guards round Qdrant Edge: one process a folder, nothing acknowledged lost, damage told."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from qdrant_client import models

from memory.edge import EdgeClient, MemoryDamaged, MemoryInUse

ROOT = Path(__file__).parent.parent.parent


def point(n: int) -> models.PointStruct:
    return models.PointStruct(id=f"00000000-0000-0000-0000-{n:012}", vector={}, payload={"n": n})


def test_a_second_process_is_refused_with_advice_and_harms_nothing(tmp_path: Path) -> None:
    client = EdgeClient(tmp_path)
    client.upsert("c", [point(1)])
    client.flush()
    code = f"from memory.edge import *; from pathlib import Path; EdgeClient(Path({str(tmp_path)!r}))"
    second = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "MemoryInUse" in second.stderr
    assert str(os.getpid()) in second.stderr
    assert "QDRANT_URL" in second.stderr
    client.upsert("c", [point(2)])
    client.flush()  # the trap: after an unguarded second load, this fails
    client.close()
    reopened = EdgeClient(tmp_path)
    assert reopened.count("c").count == 2
    reopened.close()


def test_the_folder_is_free_again_after_close(tmp_path: Path) -> None:
    EdgeClient(tmp_path).close()
    client = EdgeClient(tmp_path)
    with pytest.raises(MemoryInUse):
        EdgeClient(tmp_path)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="is closed"):
        client.count("c")


def test_a_failed_flush_reloads_the_shard_and_loses_nothing(tmp_path: Path) -> None:
    client = EdgeClient(tmp_path)
    client.upsert("c", [point(n) for n in range(5)])
    real = client._open_shard()

    class Broken:
        def flush(self) -> None:
            raise RuntimeError("Tracker journal is shorter than expected")

        def close(self) -> None:
            real.close()

    client._shard = Broken()  # type: ignore[assignment]
    client.flush()
    assert client.count("c").count == 5
    client.upsert("c", [point(9)])
    client.flush()
    client.close()


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from tests.memory.test_edge import point
from memory.edge import EdgeClient
client = EdgeClient(Path({str(tmp_path / "m")!r}))
n = 0
while True:
    client.upsert("c", [point(n)])
    n += 1
    print(n, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    acknowledged = 0
    began = time.monotonic()
    while acknowledged < 200 and time.monotonic() - began < 60:
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = process.stdout.read().split("\n")
    acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
    client = EdgeClient(tmp_path / "m")
    ids = [point(n).id for n in range(acknowledged)]
    assert len(client.retrieve("c", [str(i) for i in ids])) == acknowledged >= 200
    client.close()


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_folder_is_named_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    client = EdgeClient(tmp_path)
    client.upsert("c", [point(1)])
    client.close()
    files = [p for p in (tmp_path / "shard").rglob("*") if p.is_file() and p.suffix in (".json", ".info")]
    assert files
    for path in files:
        path.write_bytes(damage)
    with pytest.raises(MemoryDamaged, match="Restore the folder"):
        EdgeClient(tmp_path)
    assert all(path.read_bytes() == damage for path in files)


def test_a_process_that_died_while_making_the_folder_leaves_no_damage(tmp_path: Path) -> None:
    (tmp_path / "shard.new" / "segments").mkdir(parents=True)
    client = EdgeClient(tmp_path)
    client.upsert("c", [point(1)])
    client.close()


def test_only_its_owner_can_read_the_folder(tmp_path: Path) -> None:
    client = EdgeClient(tmp_path / "m")
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o700
    client.close()


def test_the_folder_is_free_after_a_flush_whose_reload_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = EdgeClient(tmp_path)
    client.upsert("c", [point(1)])
    real = client._open_shard()

    class Broken:
        def flush(self) -> None:
            raise OSError("No space left on device")

        def close(self) -> None:
            real.close()

    def unreadable(self: EdgeClient) -> None:
        raise MemoryDamaged("the folder cannot be read")

    with monkeypatch.context() as broken:
        client._shard = Broken()  # type: ignore[assignment]
        broken.setattr(EdgeClient, "_load", unreadable)
        with pytest.raises(MemoryDamaged):
            client.flush()
    client.close()
    again = EdgeClient(tmp_path)
    assert again.count("c").count == 1
    again.close()
