"""The settings: read from the environment and `.env`, anew when they change."""

from pathlib import Path

import pytest

from settings import current


def test_what_changes_is_read_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    before = current()
    assert current() is before
    monkeypatch.setenv("PALIMPSEST_REPLY_SECONDS", "7")
    assert current().reply_seconds == 7 != before.reply_seconds
    monkeypatch.delenv("PALIMPSEST_REPLY_SECONDS")
    (tmp_path / ".env").write_text("PALIMPSEST_REPLY_SECONDS=9\n")
    assert current().reply_seconds == 9
