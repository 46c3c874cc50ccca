"""Guards that die: whatever enforces a limit starts before what it limits, and takes that with it when it ends."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from sandbox import native
from sandbox.browser import Browser, PageFailed
from sandbox.choose import open_sandbox
from sandbox.outcome import Limits, SandboxFailed
from sandbox.python import Sandbox
from settings import Settings

SLEEPS = "import time\ndef f():\n    time.sleep(600)"
PATIENT = Limits(cpu_seconds=60.0, idle_seconds=60.0)


def test_a_program_ends_with_the_worker_that_watches_it(sandbox: Sandbox) -> None:
    with open_sandbox(Settings(), sandbox.kind, 1) as own:
        failed: list[SandboxFailed] = []

        def run() -> None:
            try:
                own.run(SLEEPS, ["f()"], PATIENT)
            except SandboxFailed as error:
                failed.append(error)

        running = threading.Thread(target=run)
        running.start()
        families: list[psutil.Process] = []
        for _ in range(3):  # the tries of one program
            worker = _next_worker(own, {p.pid for p in families})
            time.sleep(0.5)  # it has its program
            family = [worker, *worker.children(recursive=True)]
            families += family
            # Under bubblewrap, the first two are bwrap's own.
            (family[2] if sandbox.kind == "bubblewrap" else worker).kill()
        running.join(20)
        assert not running.is_alive()
        assert failed
        assert psutil.wait_procs(families, timeout=10)[1] == []


def _next_worker(sandbox: Sandbox, known: set[int]) -> psutil.Process:
    """The worker's process, once there is one that is not known yet."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for worker in list(sandbox._all):
            if worker.process.pid not in known:
                return psutil.Process(worker.process.pid)
        time.sleep(0.01)
    raise TimeoutError("no worker was started")


@pytest.mark.skipif(not native.has_native(), reason="the copy of the worker's files is made for Linux")
@pytest.mark.parametrize(
    ("at", "raising"),
    [
        ("        look = min(TICK, time.monotonic() - begun)\n", "        if number: raise AttributeError('bounds')\n"),
        ('        bounds = doing["bounds"]', "        if number: return\n"),
    ],
)
@pytest.mark.usefixtures("built")
def test_no_program_outlives_the_thread_that_counts_its_time(
    at: str, raising: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wasm_worker", "wire", "lockdown"):
        shutil.copy(native.HERE / f"{name}.py", tmp_path)
    source = (tmp_path / "wasm_worker.py").read_text()
    assert at in source
    (tmp_path / "wasm_worker.py").write_text(source.replace(at, raising + at))
    with open_sandbox(Settings(), "wasm", 1) as sandbox:  # builds the component
        component = sandbox._component
    monkeypatch.setattr("sandbox.wasm.HERE", tmp_path)
    own = Sandbox("wasm", Settings().folder / "sandbox", 1)
    own._component = component
    begun = time.monotonic()
    try:
        with pytest.raises(SandboxFailed):
            own.run(SLEEPS, ["f()"], PATIENT)
        assert time.monotonic() - begun < 40, "it slept for as long as it liked"
    finally:
        own.close()


@pytest.mark.skipif(not shutil.which("bwrap"), reason="pages are drawn in bubblewrap")
def test_a_page_ends_with_the_guard_of_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser()
    try:
        browser.shoot("<p>warm</p>")
        monkeypatch.setattr("sandbox.browser.DEADLINE", "not a number")  # the guard dies of it
        monkeypatch.setattr("sandbox.browser.STEP_MS", 60_000)
        with pytest.raises(PageFailed) as failed:
            browser.shoot("<p>" + "<div style='filter:blur(9px)'>x" * 400)
        assert failed.value.exit_reason == "time"
        monkeypatch.undo()
        assert browser.shoot("<p>next</p>").blocks[0]["text"] == "next"
    finally:
        browser.close()


@pytest.mark.skipif(not shutil.which("bwrap"), reason="pages are drawn in bubblewrap")
@pytest.mark.skipif(
    not Path("/proc/thread-self/children").exists(), reason="the system does not tell a thread's processes"
)
def test_a_page_ends_where_playwright_goes_on_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser()
    try:
        browser.shoot("<p>warm</p>")
        monkeypatch.setattr("sandbox.browser.DEADLINE", 1.0)
        monkeypatch.setattr("sandbox.browser.DRIVER_SECONDS", 1.0)
        (driver,) = browser._driver
        os.kill(driver, signal.SIGSTOP)
        with pytest.raises(PageFailed) as failed:
            browser.shoot("<p>never drawn</p>")
        assert failed.value.exit_reason == "time"
        monkeypatch.undo()
        for text in ("next", "and the next"):
            assert browser.shoot(f"<p>{text}</p>").blocks[0]["text"] == text
    finally:
        browser.close()


@pytest.mark.skipif(not shutil.which("bwrap"), reason="pages are drawn in bubblewrap")
def test_a_closed_browser_leaves_no_process_and_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours() -> set[int]:
        return {p.pid for p in psutil.Process().children(recursive=True)}

    before = ours()
    browser = Browser()
    browser.shoot("<h1>Hello</h1>")
    assert ours() - before
    browser.close()
    deadline = time.monotonic() + 10
    while ours() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ours() - before == set()
    with pytest.raises(RuntimeError, match="closed"):
        browser.shoot("<p>x</p>")
