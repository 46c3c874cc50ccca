"""Backend tasks of our own: functions whose description leaves decisions open, so that asking the person is what pays.

A family is a function with its decisions, such as where a discount begins or what happens with missing data. A task draws one
option for each; `difficulty` of them stay hidden, the others are told. Options of the train split and of the test splits never
meet. Tests are chosen so that each hidden decision changes an answer, and no constant gives many of them.
"""

import ast
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from tasks.colbench import Fact, Task, called
from tasks.decisions import Decision, Family, Option, OwnSplit, phrasings
from tasks.families import ARGUMENTS, FAMILIES

TESTS = 10
CANDIDATES = 120  # inputs of which the tests are chosen
MOST_ALIKE = 3  # tests with the same answer
LEAST_CHOICES = 20
"""Ways in which the hidden decisions can be taken together: a guess is right one time in so many, at most. Where four or more are
hidden, that is so even for who knows the one with the most options."""
NUDGES = ("", "total *= 1.000000001", "total *= 0.999999999")
"""A right program may add in another order: an input at which the last bit decides is no test."""


def make_task(split: OwnSplit, difficulty: int, seed: int) -> Task:
    """The task of that seed: the same for ever. Raises ValueError for a difficulty no family has."""
    if not 1 <= difficulty <= 5:
        raise ValueError(f"difficulty={difficulty!r} cannot work: 1 to 5 decisions can be hidden.")
    for attempt in range(1000):
        rng = random.Random(f"{split} {difficulty} {seed} {attempt}")
        family = FAMILIES[seed % len(FAMILIES)]
        options = {d.key: rng.choice(d.of_split(split)) for d in family.decisions}
        hidden = rng.sample(family.decisions, difficulty)
        choices = sorted(len(d.of_split(split)) for d in hidden)
        if math.prod(choices[:-1] if difficulty >= 4 else choices) < LEAST_CHOICES:
            continue
        arguments = _tests(family, options, hidden, split, rng)
        if arguments:
            break
    else:
        raise AssertionError(f"no tests for {split} {difficulty} {seed}")
    return task_with(
        f"own-backend/{split}/{difficulty}/{seed}",
        family,
        options,
        hidden,
        split,
        rng,
        tuple(f"{family.function}({', '.join(map(repr, a))})" for a in arguments),
    )


def task_with(
    task_id: str, family: Family, options: dict[str, Option], hidden: list[Decision], split: OwnSplit, rng: random.Random,
    calls: tuple[str, ...],
) -> Task:  # fmt: skip
    """The task about the function with these options, which tells all but what is hidden."""
    facts = {
        d.key: Fact(d.key, options[d.key].value, rng.choice(phrasings(options[d.key].statements, split)), d.keywords)
        for d in family.decisions
    }
    left_open = {d.key for d in hidden}
    stated = tuple(fact for key, fact in facts.items() if key not in left_open)
    told = [fact.statement for fact in stated]
    return Task(
        task_id=task_id,
        kind="backend",
        description=" ".join([family.wish, *told, f"The signature of the function is: {family.signature}"]),
        ground_truth=family.program(options),
        calls=calls,
        facts=tuple(fact for key, fact in facts.items() if key in left_open),
        stated=stated,
        split=split,
        difficulty=len(hidden),
    )


class HeldOut:
    """Tells programs that a policy may not have read before it is measured on these tasks: those that behave like one of their
    functions, as what has the same syntax tree does too.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tests: dict[str, list[list[tuple[tuple[Any, ...], str]]]] = defaultdict(list)
        for task in tasks:
            truth, name = task.ground_truth, called(task.calls)
            calls = [ast.parse(call, mode="eval").body for call in task.calls]
            arguments = [tuple(map(ast.literal_eval, call.args)) for call in calls if isinstance(call, ast.Call)]
            self._tests[name].append([(a, _answer(_compiled(truth, name), a)) for a in arguments])

    def hold(self, program: str, function: str) -> bool:
        """Whether the program gives what one of the functions gives wherever that is tested."""
        made = _compiled(program, function)
        return any(all(_answer(made, a) == answer for a, answer in tests) for tests in self._tests[function])


def _tests(
    family: Family, options: dict[str, Option], hidden: list[Decision], split: OwnSplit, rng: random.Random
) -> list[tuple[Any, ...]]:
    """Arguments of the tests: every other option of a hidden decision fails one of them, at least; empty if there are none."""
    truths = [_compiled(family.program(options, nudge), family.function) for nudge in NUDGES]
    others = [
        _compiled(family.program({**options, d.key: other}), family.function)
        for d in hidden
        for other in rng.sample(d.of_split(split), min(12, len(d.of_split(split))))
        if other != options[d.key]
    ]
    candidates = {}
    for _ in range(CANDIDATES):
        arguments = ARGUMENTS[family.name](rng)
        answers = [_answer(truth, arguments) for truth in truths]
        if len(set(answers)) == 1 and not answers[0].startswith("!"):
            candidates[repr(arguments)] = arguments, answers[0]
    kills = {
        key: {n for n, other in enumerate(others) if _answer(other, arguments) != answer}
        for key, (arguments, answer) in candidates.items()
    }
    left, chosen, seen = set(range(len(others))), list[str](), Counter[str]()
    while len(chosen) < TESTS:
        free = [k for k in kills if k not in chosen and seen[candidates[k][1]] < MOST_ALIKE]
        if not free:
            return []
        best = max(free, key=lambda k: (len(kills[k] & left), len(kills[k]), -seen[candidates[k][1]]))
        chosen.append(best)
        seen[candidates[best][1]] += 1
        left -= kills[best]
    rng.shuffle(chosen)
    return [] if left else [candidates[key][0] for key in chosen]


@lru_cache(maxsize=4096)
def _compiled(source: str, function: str) -> Callable[..., Any]:
    """The function of a source made of the tables in own_backend.toml: nobody else's text is ever run here."""
    names: dict[str, Any] = {}
    exec(compile(source, "<own task>", "exec"), names)  # noqa: S102
    made: Callable[..., Any] = names[function]
    return made


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """What it gives, as text that differs where the values do."""
    try:
        value = function(*arguments)
    except (ValueError, ZeroDivisionError, IndexError, TypeError) as error:
        return f"!{type(error).__name__}"
    return repr(float(value)) if type(value) in (int, float) else repr(value)  # and not of a bool
