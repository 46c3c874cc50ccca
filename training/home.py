"""The settings that training runs with: those of the environment, read once, since tasks are looked up many thousand times."""

from functools import lru_cache

from settings import Settings


@lru_cache(maxsize=1)
def home() -> Settings:
    """Where tasks and their files are."""
    return Settings()
