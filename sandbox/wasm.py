"""The back end that needs nothing of the kernel: CPython compiled to WebAssembly, run by wasmtime with a count of instructions.

The component is built on first use by componentize-py from guest.py (seconds), and kept in a folder of its owner's alone.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import portalocker

from sandbox.native import HERE, CannotRun, Worker

WORLD = """package palimpsest:sandbox;

world runner {
  import emit: func(line: string);
  export run: func(code: string, calls: list<string>, start: u32, output-characters: u32);
}
"""
APP = """import guest
import wit_world

guest.load(guest.LOADED)


class WitWorld(wit_world.WitWorld):
    def run(self, code, calls, start, output_characters):
        guest.prepare()
        guest.run(code, calls, start, output_characters, wit_world.emit)
"""


def start_wasm(component: Path) -> Worker:
    """A worker of the back end `wasm`. Raises CannotRun or WorkerDied."""
    command = [sys.executable, "-B", str(HERE / "wasm_worker.py")]
    return Worker(command, {"component": str(component)}, asks=False)


def build_component(folder: Path) -> Path:
    """Path in `folder` of the compiled component for this guest and these versions, built unless it is there as it was built.

    Raises CannotRun.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise CannotRun(f"{folder} is to hold machine code, and others than its owner may enter it: chmod 700 it.")
    fingerprint = _fingerprint()
    with portalocker.Lock(folder / "build.lock", timeout=300):
        for path in folder.glob("guest-*.cwasm"):
            if path.stem == f"guest-{fingerprint}-{_sha256(path)}":
                return path
            path.unlink()
        return _build(folder, fingerprint)


def _fingerprint() -> str:
    text = (HERE / "guest.py").read_bytes() + WORLD.encode() + APP.encode()
    for package in ("wasmtime", "componentize-py"):
        try:
            text += version(package).encode()
        except PackageNotFoundError as error:
            raise CannotRun(f"The package {package} is not installed here (pip install {package}).") from error
    return hashlib.sha256(text).hexdigest()[:16]


def _build(folder: Path, fingerprint: str) -> Path:
    from wasmtime import Config, Engine, WasmtimeError
    from wasmtime.component import Component

    with tempfile.TemporaryDirectory() as build:
        shutil.copy(HERE / "guest.py", build)
        Path(build, "app.py").write_text(APP)
        Path(build, "runner.wit").write_text(WORLD)
        command = [sys.executable, "-c", "import componentize_py; componentize_py.script()"]
        command += ["-q", "-d", "runner.wit", "-w", "runner"]
        command += ["componentize", "app", "-p", ".", "-o", "guest.wasm"]
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=build, env=environment, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise CannotRun(f"componentize-py could not build the sandbox: {(done.stderr or done.stdout)[-500:]}")
        config = Config()
        config.consume_fuel = True
        try:
            compiled = Component.from_file(Engine(config), str(Path(build, "guest.wasm"))).serialize()
        except WasmtimeError as error:
            raise CannotRun(f"wasmtime could not compile the sandbox: {str(error)[:500]}") from error
    partial = folder / "guest.partial"
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(compiled)
    return partial.rename(folder / f"guest-{fingerprint}-{_sha256(partial)}.cwasm")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
