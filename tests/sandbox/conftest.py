import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.choose import STRONGEST_FIRST, choose_sandbox
from sandbox.outcome import SandboxUnavailable
from sandbox.python import Sandbox
from settings import Settings


@pytest.fixture(scope="session", params=STRONGEST_FIRST)
def sandbox(request: pytest.FixtureRequest, builds: Path) -> Iterator[Sandbox]:
    """A tested sandbox of each back end that this machine allows. CI has all three."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALIMPSEST_HOME", str(builds))
        try:
            sandbox = choose_sandbox(Settings(), request.param, 2)
        except SandboxUnavailable as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
    yield sandbox
    sandbox.close()
