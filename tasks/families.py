"""Families of functions that our own backend tasks are drawn from, and how the arguments of their tests are drawn."""

import random
from collections.abc import Callable
from typing import Any

from tasks.decisions import read_families

FAMILIES = read_families()
SYLLABLES = "ba ce di fo gu ka le mi no pu ra se ti vo zu".split()


def _words(rng: random.Random, most: int) -> list[str]:
    return ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(rng.randint(2, most))]


def _title(rng: random.Random) -> tuple[Any, ...]:
    return (" ".join(w.title() if rng.random() < 0.5 else w for w in _words(rng, 8)),)


def _scores(rng: random.Random) -> tuple[Any, ...]:
    names = list(dict.fromkeys(_words(rng, 9)))
    return ([[name, rng.choice([10, 20, 30, 30, 40, rng.randint(1, 60)])] for name in names],)


def _values(low: int, high: int, gaps: float = 0.25) -> Callable[[random.Random], tuple[Any, ...]]:
    def draw(rng: random.Random) -> tuple[Any, ...]:
        values = [None if rng.random() < gaps else rng.randint(low, high) for _ in range(rng.randint(3, 9))]
        return ([*values, rng.randint(low, high)],)

    return draw


def _seconds(rng: random.Random) -> tuple[Any, ...]:
    either = [rng.randint(-5, 0), rng.randint(1, 300), rng.randint(3500, 9000), rng.randint(3000, 40_000)]
    return (rng.choice(either),)


def _bill(rng: random.Random) -> tuple[Any, ...]:
    amounts = [rng.randint(100, 4000) for _ in range(rng.randint(1, 5))]
    return (amounts, rng.choice([rng.randint(-1, 0), rng.randint(1, 7), rng.randint(2, 7)]))


def _loan(rng: random.Random) -> tuple[Any, ...]:
    days = rng.choice([rng.randint(-2, 3), rng.randint(1, 60)])
    return (days, rng.choice([rng.randint(20, 300), rng.randint(500, 4000)]) + 0.3)


ARGUMENTS: dict[str, Callable[[random.Random], tuple[Any, ...]]] = {
    "order_total": lambda rng: (rng.choice([rng.randint(-2, 60), rng.randint(8, 52)]), rng.randint(1, 400) / 4),
    "average_score": _values(20, 90),
    "ranking": _scores,
    "parcel_price": lambda rng: (
        rng.choice([rng.randint(1, 90), rng.randint(100, 60_000)]) + 0.37,
        rng.randint(10, 1000),
    ),
    "duration_text": _seconds,
    "alarm_hours": _values(8, 50),
    "make_code": _title,
    "reorder": lambda rng: (rng.randint(0, 700), rng.randint(0, 30)),
    "late_fee": _loan,
    "split_bill": _bill,
    "leave_days": lambda rng: (rng.randint(0, 40), rng.choice([rng.randint(8, 48), rng.randint(15, 46)])),
    "points": lambda rng: ([rng.randint(1, 150) for _ in range(rng.randint(2, 7))],),
}
"""By family: the arguments of one call."""
