"""The attack suite on every back end of this machine, and on none: a suite that cannot fail proves nothing."""

import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import choose, native
from sandbox.attacks import ATTACKS, ESSENTIAL, Attack, Decoy, open_decoy, run_attack
from sandbox.choose import choose_sandbox
from sandbox.outcome import SandboxUnavailable
from sandbox.python import Sandbox
from settings import Settings

CHANGES_ITS_OWN_STAGE_ONLY = ("files", "env", "net")


@pytest.fixture(scope="module")
def decoy() -> Iterator[Decoy]:
    with open_decoy() as decoy:
        yield decoy


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: f"{a.group}-{a.name}")
def test_attack_fails(attack: Attack, sandbox: Sandbox, decoy: Decoy) -> None:
    how = run_attack(attack, sandbox, decoy)
    assert not how or attack.allowed == sandbox.kind, how


def test_the_suite_is_large_and_each_name_its_own() -> None:
    assert len({(a.group, a.name) for a in ATTACKS}) == len(ATTACKS) >= 80
    assert len(ESSENTIAL) >= 10
    assert [a.name for a in ATTACKS if a.allowed] == ["stat_secret"]


@pytest.fixture
def naked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A worker that locks nothing."""
    for name in ("guest", "wire", "zygote", "lockdown"):
        shutil.copy(native.HERE / f"{name}.py", tmp_path)
    lockdown = tmp_path / "lockdown.py"
    nothing = re.sub(r"(def _do\(.*\n)", r"\1    return QUIET\n", lockdown.read_text())
    lockdown.write_text(f"{nothing}\n\nQUIET = os.pipe()[0]  # where nobody ever asks\n")
    monkeypatch.setattr(native, "HERE", tmp_path)
    sandbox = Sandbox("landlock", tmp_path / "builds", 1)
    yield sandbox
    sandbox.close()


@pytest.mark.skipif(not native.has_native(), reason="needs Linux with Landlock")
def test_without_locks_most_attacks_succeed(naked: Sandbox) -> None:
    harmless = [a for a in ATTACKS if a.group in CHANGES_ITS_OWN_STAGE_ONLY and a.name != "device_memory"]
    won = 0
    for attack in harmless:
        with open_decoy() as decoy:
            won += bool(run_attack(attack, naked, decoy))
    assert won >= 0.8 * len(harmless)
    assert "succeeded" in choose.failed_self_test(naked)


def test_a_busy_parent_is_no_broken_sandbox(sandbox: Sandbox) -> None:
    """What its other threads do is not what a program made it do."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            sum(range(10_000))

    busy = [threading.Thread(target=work) for _ in range(3)]
    for thread in busy:
        thread.start()
    try:
        assert choose.failed_self_test(sandbox) == ""
    finally:
        done.set()


def test_a_decoy_within_a_decoy_gives_its_secret_back() -> None:
    with open_decoy() as outer:
        with open_decoy() as inner:
            assert os.environ["PALIMPSEST_DECOY_SECRET"] == inner.token
        assert os.environ["PALIMPSEST_DECOY_SECRET"] == outer.token
    assert "PALIMPSEST_DECOY_SECRET" not in os.environ


@pytest.mark.usefixtures("built")
def test_a_back_end_that_an_attack_breaks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    easy = Attack("easy", "files", "def attack(): return 'BROKE'", essential=True)
    monkeypatch.setattr(choose, "ESSENTIAL", [easy])
    with pytest.raises(SandboxUnavailable, match="files/easy succeeded"):
        choose_sandbox(Settings(), "auto", 1)
