"""A Qdrant server that is not there, or not there any more."""

from typing import Any

import pytest
from qdrant_client.http.exceptions import ResponseHandlingException

from memory.server import MemoryUnreachable, ServerClient


def test_a_qdrant_that_dies_later_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ServerClient(location=":memory:")

    def gone(*_: Any, **__: Any) -> None:
        raise ResponseHandlingException(ConnectionError("refused"))

    monkeypatch.setattr(client._client, "count", gone)
    with pytest.raises(MemoryUnreachable, match="does not answer any more"):
        client.count("palimpsest")


def test_an_unreachable_qdrant_says_what_to_do() -> None:
    with pytest.raises(MemoryUnreachable, match="QDRANT_URL"):
        ServerClient(url="http://127.0.0.1:9", timeout=1)
