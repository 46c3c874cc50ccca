"""Scores of a program against hidden tests: the share that passes, and success when all do (ColBench, section 3).

The truth runs once per task in a sandboxed process of its own, the program in another; what both gave is compared here, as
plain data. So a program sees no expected value, and an object that equals everything is no answer.

Departures: (1) ColBench's scorer fails right programs for their style: `scoring="released"` gives its verdicts.
"""

import builtins
import math
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from sandbox.outcome import Answer, Limits, Outcome
from sandbox.python import Sandbox
from sandbox.values import Value, same
from tasks.colbench import Task
from tasks.environment import Score
from tasks.programs import program_for, simplified_variants

MOST_CACHED = 20_000  # truths
Failure = Literal["", "no_answer", "no_function", "raised", "wrong", "time", "crash"]
UNUSABLE = ("ImportError", "ModuleNotFoundError", "NameError", "SyntaxError", "NoAnswer", "not plain data")
"""Errors of a truth that say the truth cannot be run here; any other exception is what the program is to raise."""
ENDINGS = ("cpu", "idle", "flood", "crash", "refused", "failed")


class TruthFailed(ValueError):
    """A task whose own reference gives nothing to compare with. The message names the task; `detail` is hidden text."""

    def __init__(self, task: Task, detail: str) -> None:
        super().__init__(
            f"The reference of the task {task.task_id} gives nothing to compare with. What is wrong with it: "
            "`python -m evaluation colbench-file --file ...`."
        )
        self.detail = detail


class BackendScorer:
    """Scores programs; threads may share it. `tolerance` is the largest relative or absolute difference between two
    numbers that count as equal; 0, the default, is Python's `==`. NaN equals NaN: a right program must be able to pass.
    """

    def __init__(self, sandbox: Sandbox, tolerance: float = 0.0, limits: Limits | None = None) -> None:
        if not 0 <= tolerance < 1:
            raise ValueError(f"tolerance={tolerance!r} cannot work: use 0 for `==`, or a small share such as 1e-9.")
        self.sandbox = sandbox
        self.tolerance = tolerance
        self.limits = limits or Limits()

    def score(self, task: Task, answer: str) -> Score:
        """The score of an answer's text. Raises TruthFailed, and SandboxFailed."""
        expected = self.truth(task)
        counted = [n for n, e in enumerate(expected) if e.error not in (*UNUSABLE, *ENDINGS)]
        if not answer.strip():
            return Score.of_tests((False,) * len(counted), "no_answer", "There is no answer.")
        calls = [task.calls[n] for n in counted]
        program = program_for(answer, task.function)
        outcome = self.sandbox.run(program, calls, self.limits)
        tried = {program.strip()}
        for bare in simplified_variants(program):
            if outcome.loaded or outcome.exit_reason == "refused":
                break
            if bare.strip() not in tried:
                tried.add(bare.strip())
                outcome = self.sandbox.run(bare, calls, self.limits)
        pairs = list(zip(outcome.answers, (expected[n] for n in counted), strict=True))
        passed = tuple(self.matches(got, wanted) for got, wanted in pairs)
        first = next((n for n, ok in enumerate(passed) if not ok), None)
        if first is None:
            return Score.of_tests(passed)
        return Score.of_tests(passed, *_failure(outcome, first, task.function))

    def truth(self, task: Task) -> list[Answer]:
        """What the reference answers to each call; run once. Raises TruthFailed if it gives nothing to compare with."""
        answers = _answers(self.sandbox, task.ground_truth, task.calls, self.limits)
        if all(a.error in (*UNUSABLE, *ENDINGS) for a in answers):
            raise TruthFailed(task, f"{answers[0].error} {answers[0].message}".strip())
        return answers

    def matches(self, got: Answer, wanted: Answer) -> bool:
        """Whether two answers count as the same: equal values, or exceptions of one name."""
        if wanted.error or got.error:
            return got.error == wanted.error
        return equal(got.value, wanted.value, self.tolerance)


@lru_cache(maxsize=MOST_CACHED)
def _answers(sandbox: Sandbox, source: str, calls: tuple[str, ...], limits: Limits) -> list[Answer]:
    return sandbox.run(source, calls, limits).answers


def equal(left: Value, right: Value, tolerance: float = 0.0) -> bool:
    """Python's `==` on plain data, with NaN equal to itself and numbers equal within `tolerance`.

    >>> equal([1, True, (0.1 + 0.2,)], [1.0, 1, (0.3,)], 1e-9)
    True
    """
    if isinstance(left, int | float) and isinstance(right, int | float):
        if left == right or (left != left and right != right):
            return True
        try:
            return tolerance > 0 and math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
        except OverflowError:
            return False
    if type(left) is not type(right):
        return same(left, right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(equal(a, b, tolerance) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict):
        return len(left) == len(right) and all(k in right and equal(v, right[k], tolerance) for k, v in left.items())
    if (isinstance(left, Decimal) and left.is_nan()) or (isinstance(left, complex) and left != left):
        return repr(left) == repr(right)
    return same(left, right)


def _failure(outcome: Outcome, number: int, function: str) -> tuple[Failure, str]:
    """The kind of a failure, and what to tell of it.

    No text of the program's own choosing: in its process it could have found the calls that it is tested with.
    """
    answer = outcome.answers[number]
    if answer.error in ("cpu", "idle"):
        return "time", outcome.feedback()
    if answer.error == "failed":
        name = outcome.error.partition(":")[0]
        return (
            "no_function" if name == "SyntaxError" else "raised",
            f"The program raised {_known(name)} when it was loaded.",
        )
    if answer.error in ENDINGS:
        return "crash", outcome.feedback() or "The program ended its own process."
    if answer.error == "NameError" and f"'{function}'" in answer.message:
        return "no_function", f"It defines no function {function}."
    if answer.error:
        return "raised", f"It raised {_known(answer.error)}{answer.where}."
    return "wrong", "It gives another value."


def _known(name: str) -> str:
    is_builtin = name in UNUSABLE or isinstance(getattr(builtins, name, None), type)
    return name if is_builtin else "an exception of its own"
