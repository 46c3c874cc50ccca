import os
from collections.abc import Iterator

import pytest

from sandbox.choose import STRONGEST_FIRST, choose_sandbox
from sandbox.outcome import SandboxUnavailable
from sandbox.python import Sandbox
from settings import Settings


@pytest.fixture(scope="session", params=STRONGEST_FIRST)
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A tested sandbox of each back end that this machine allows. CI has all three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALIMPSEST_HOME", str(tmp_path_factory.getbasetemp() / "built"))
        try:
            sandbox = choose_sandbox(Settings(), request.param, 2)
        except SandboxUnavailable as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
    yield sandbox
    sandbox.close()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The home in which the component for WebAssembly is built already: it takes a while."""
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path_factory.getbasetemp() / "built"))
