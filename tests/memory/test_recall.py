"""Recall storage: searched by text, date and meaning."""

from datetime import UTC, datetime, timedelta

import pytest

from memory.recall import Message, Recall, day_range
from memory.store import QdrantStore

START = datetime(2026, 3, 30, 23, 30, tzinfo=UTC)


def say(recall: Recall, texts: list[str], role: str = "user") -> None:
    recall.write(
        [
            Message(f"{role}-{n}", role, text, "Ada", "own", START + timedelta(hours=n), "t", n, n)  # type: ignore[arg-type]
            for n, text in enumerate(texts)
        ]
    )


def test_recall_searches_by_case_date_and_meaning_and_never_its_own_steps(store: QdrantStore) -> None:
    recall = Recall(store, "ada")
    say(recall, ["Tea in the morning", "tea at noon", "Nothing", "a walk in the evening"])
    say(recall, ["recall_memory_search(tea)"], role="tool_call")
    assert recall.count() == 4
    assert [i.value["text"] for i in recall.search("tea").items] == ["tea at noon"]
    assert recall.search("tea", case_sensitive=False).total == 2
    assert recall.search_dates("2026-03-31", "2026-03-31").total == 3
    assert recall.search_dates("2026-03-30", "2026-03-31").total == 4
    assert recall.nearest("evening walk").items[0].value["text"] == "a walk in the evening"
    assert store.count(recall.namespace) == 5


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2026-02-30", "2026-03-01", "no day of the calendar"),
        ("2026-3-1", "2026-03-01", "YYYY-MM-DD"),
        ("yesterday", "2026-03-01", "YYYY-MM-DD"),
        ("2026-03-02", "2026-03-01", "exchange them"),
        ("2026-03-02", "9999-12-31", "too far"),
    ],
)
def test_dates_that_cannot_be_are_named(start: str, end: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        day_range(start, end)


def test_a_date_range_holds_its_last_day_whole() -> None:
    since, before = day_range("2026-12-31", "2026-12-31")
    assert since <= datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) < before
