"""One page of what a search finds, with the true total."""

from dataclasses import dataclass
from math import ceil

from langgraph.store.base import SearchItem


@dataclass(frozen=True)
class ResultPage:
    """One page of matches, oldest first unless asked otherwise."""

    items: list[SearchItem]
    total: int
    """How many match in all."""
    page: int
    """This page's number, from 0."""
    pages: int
    """How many pages there are; 0 when nothing matches."""


def check_page(page: int, page_size: int, total: int) -> None:
    """Raise ValueError unless `page` exists; page 0 always does."""
    pages = ceil(total / page_size)
    if page < 0 or page >= max(1, pages):
        exist = (
            f"{total} matches are on pages 0 to {pages - 1}" if total else "nothing matches, so there is only page 0"
        )
        raise ValueError(f"Page {page} does not exist: {exist}.")
