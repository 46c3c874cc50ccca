"""The scorer as facebookresearch/sweet_rl released it, run safely: for comparing with published numbers only.

Its rules, faults included: a list of words in the answer gives 0; the first ```python block counts, else the first block,
else the text as it is; each test executes the program anew, inside a function, so that helpers, recursion, constants and
imports at the top level are not found; one second a test; `==`; a test whose truth gives None is never passed.
What is not reproduced: an answer that cheats by an object equal to everything, or by reading the evaluator's frames, scores 0.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from sandbox.outcome import Answer, Limits
from sandbox.python import Sandbox
from tasks.colbench import Task
from tasks.environment import Score

REFUSED = re.compile(r"(?:import|from) (?:os|sys)|sudo|transformers|exit\(|quit\(|argparse")
SECONDS = Limits(cpu_seconds=1.0, idle_seconds=1.0)
EXECUTED = """
def {name}(source, call):
    names = {{}}
    exec(source, {{"__builtins__": __builtins__}}, names)
    return eval(call, {{"__builtins__": __builtins__}}, names)
"""
RUN = "palimpsest_run"


def score_as_released(sandbox: Sandbox, task: Task, answer: str) -> Score:
    """The released scorer's verdict on an answer. Raises SandboxFailed."""
    if REFUSED.search(answer):
        return Score.of_tests((False,) * len(task.calls), "raised", "It has a word of the released list.")
    program = released_program(answer)
    wanted, got = _truth(sandbox, task), _run_each(sandbox, program, task.calls)
    passed = tuple(not w.error and w.value is not None and g.equals(w.value) for w, g in zip(wanted, got, strict=True))
    first = next((g for g, ok in zip(got, passed, strict=True) if not ok), None)
    if first is None:
        return Score.of_tests(passed)
    return Score.of_tests(passed, "raised" if first.error else "wrong", f"{first.error} {first.message}".strip())


def released_program(answer: str) -> str:
    """What of the answer the released scorer executes."""
    for fence in ("```python", "```"):
        if fence in answer:
            return answer.split(fence)[1].split("```")[0]
    return answer


@lru_cache(maxsize=4_096)
def _truth(sandbox: Sandbox, task: Task) -> list[Answer]:
    return _run_each(sandbox, task.ground_truth, task.calls)


def _run_each(sandbox: Sandbox, code: str, calls: Sequence[str]) -> list[Answer]:
    """Each call with the program executed anew, in a process of its own."""
    source = EXECUTED.format(name=RUN)
    return [sandbox.run(source, [f"{RUN}({code!r}, {call!r})"], SECONDS).answers[0] for call in calls]
