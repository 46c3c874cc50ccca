"""ColBench's backend: files read strictly, right programs score 1 whatever their style, tricks score what they deserve."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.mutations import KINDS, mutants
from sandbox.choose import open_sandbox
from sandbox.python import Sandbox
from settings import Settings
from tasks.backend_score import BackendScorer, TruthFailed, equal
from tasks.colbench import BadTask, Task, read_tasks, task_of, write_tasks
from tasks.lookup import find_task, store_file, store_tasks
from tasks.programs import program_for

PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "colbench" / "backend_200.jsonl"
TRUTH = "def total(items, rate=2):\n    s = 0\n    for x in items:\n        s += x * rate\n    return s"
ROW = {
    "problem_description": "Add it up. The signature of the function is: def total(items, rate=2)",
    "ground_truth": TRUTH,
    "test_cases": {
        "test1": "total([1, 2])",
        "test2": "total([])",
        "test3": "total([5], rate=3)",
        "test4": "total([1.5])",
    },
}
TASK = task_of(ROW, "t")


@pytest.fixture(scope="module")
def scorer() -> Iterator[BackendScorer]:
    with open_sandbox(Settings(), "auto", 1) as sandbox:
        yield BackendScorer(sandbox)


STYLES = {
    "bare": TRUTH,
    "python fence": f"```python\n{TRUTH}\n```",
    "py fence": f"Sure.\n\n```py\n{TRUTH}\n```\nIt adds.",
    "untagged fence": f"```\n{TRUTH}\n```",
    "capital tag": f"```Python3\n{TRUTH}\n```",
    "closed on its last line": f"```python\n{TRUTH}```",
    "opened behind words": f"Here it is: ```python\n{TRUTH}\n```\nDone.",
    "helper in a later block": "```python\ndef total(items, rate=2):\n    return sum(h(x, rate) for x in items)\n```\nHelper:\n```python\ndef h(x, r):\n    return x * r\n```",
    "set-up with a loop": "```python\nT = []\nfor n in range(3):\n    T.append(n)\n```\n```python\ndef total(items, rate=2):\n    return sum(x * rate for x in items) + T[0]\n```",
    "broken draft before": f"```python\nfrom nowhere import thing\ndef total(items, rate=2):\n    return thing\n```\n```python\n{TRUTH}\n```",
    "future import in a block": f"```python\nK = 0\n```\n```python\nfrom __future__ import annotations\n{TRUTH} + K\n```",
    "try at the beginning": f"try:\n    import numpy\nexcept ImportError:\n    numpy = None\n\n{TRUTH}",
    "one line": "```python def total(items, rate=2): return sum(x * rate for x in items)```",
    "quoted": "\n".join(f"> {line}" for line in f"```python\n{TRUTH}\n```".splitlines()),
    "HTML": f"<pre><code>{TRUTH}</code></pre>",
    "hard spaces": TRUTH.replace("    ", "\u00a0\u00a0\u00a0\u00a0"),
    "annotated lambda": "total: object = lambda items, rate=2: sum(x * rate for x in items)",
    "defined in a condition": "if True:\n    def total(items, rate=2):\n        return sum(x * rate for x in items)",
    "bound method": "class S:\n    def __init__(self, k): self.k = k\n    def total(self, items, rate=2): return sum(x * rate for x in items) * self.k\n\ntotal, other = S(1).total, 1",
    "reads input below": f"{TRUTH}\n\nprint(total([int(input())]))",
    "asks at the beginning": f"RATE = int(input('Rate? '))\n\n{TRUTH}",
    "reads the command line": f"import sys\n\nITEMS = sys.argv[1]\n\n{TRUTH}\n\nprint(total(ITEMS))",
    "a library that it does not use": f"import pandas as pd\nimport sklearn.metrics\n\n{TRUTH}",
    "types that nothing binds": TRUTH.replace("(items, rate=2)", "(items: List[Number], rate: Rate = 2) -> np.ndarray"),
    "a test of its own that fails": f"{TRUTH}\n\nassert total([1]) == 3",
    "what it makes of itself": f"{TRUTH}\n\nBEST = total(LAST)",
    "a signature once more": f"{TRUTH}\n\ndef total(items, rate=2):\n    \"\"\"As above.\"\"\"",
    "of two classes the last": "class Draft:\n    def total(self, items, rate=2):\n        return 0\n\nclass Final:\n    def total(self, items, rate=2):\n        return sum(x * rate for x in items)",
    "tildes": f"~~~python\n{TRUTH}\n~~~",
    "unclosed fence": f"Here:\n```python\n{TRUTH}\n",
    "indented fence": "1. So:\n\n   ```python\n" + "\n".join("   " + line for line in TRUTH.splitlines()) + "\n   ```\n",
    "prose before and after": f"Here is the function that you asked for:\n\n{TRUTH}\n\nIt multiplies each item. Enjoy!\nDone\n",
    "prose only before": f"I have written it, with a loop:\n{TRUTH}",
    "windows lines": f"```python\n{TRUTH}\n```".replace("\n", "\r\n"),
    "helper": "def twice(x, r):\n    return x * r\n\ndef total(items, rate=2):\n    return sum(twice(x, rate) for x in items)",
    "imports": "import math\nfrom functools import reduce\n\ndef total(items, rate=2):\n    return reduce(lambda a, b: a + b * rate, items, 0)",
    "recursion": "def total(items, rate=2):\n    return 0 if not items else items[0] * rate + total(items[1:], rate)",
    "constants": "RATE = 2\nZERO = 0\n\ndef total(items, rate=RATE):\n    return ZERO + sum(x * rate for x in items)",
    "class with method": "class Sum:\n    def add(self, xs, r):\n        return sum(x * r for x in xs)\n\ndef total(items, rate=2):\n    return Sum().add(items, rate)",
    "the method itself": "class Solution:\n    def total(self, items, rate=2):\n        return sum(x * rate for x in items)",
    "lambda": "total = lambda items, rate=2: sum(x * rate for x in items)",
    "type hints": "from typing import List\n\ndef total(items: List[float], rate: float = 2) -> float:\n    return sum(x * rate for x in items)",
    "main guard": f"{TRUTH}\n\nif __name__ == '__main__':\n    print(total(input()))",
    "usage after": f"```python\n{TRUTH}\n```\nUse it so:\n```python\nprint(total([1, 2]))\n```",
    "shell block first": f"```bash\npip install nothing\n```\n```python\n{TRUTH}\n```",
    "wrong draft first": f"First try:\n```python\ndef total(items, rate=2):\n    return 0\n```\nBetter:\n```python\n{TRUTH}\n```",
    "helper in a block of its own": "```python\ndef twice(x, r):\n    return x * r\n```\nand\n```python\ndef total(items, rate=2):\n    return sum(twice(x, rate) for x in items)\n```",
    "prints": "def total(items, rate=2):\n    print('adding', items)\n    return sum(x * rate for x in items)",
    "decorator": "from functools import wraps\n\ndef same(f):\n    @wraps(f)\n    def inner(*a, **k):\n        return f(*a, **k)\n    return inner\n\n@same\ndef total(items, rate=2):\n    return sum(x * rate for x in items)",
    "words of the released list": f"# exit( quit( sudo transformers argparse\n{TRUTH}",
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_a_right_program_scores_1_whatever_its_style(scorer: BackendScorer, style: str) -> None:
    result = scorer.score(TASK, STYLES[style])
    assert (result.score, result.success, result.failure) == (1.0, True, ""), result


@pytest.mark.parametrize(
    ("answer", "share", "failure"),
    [
        ("", 0, "no_answer"),
        ("I do not know.", 0, "raised"),
        ("def other(x):\n    return x", 0, "no_function"),
        ("```python\ndef total(items, rate=2):\n    return 6\n```", 0.25, "wrong"),
        ("def total(items):\n    return sum(items) * 2", 0.75, "raised"),
        ("def total(items, rate=2):\n    while True: pass", 0, "time"),
        ("import os\ndef total(items, rate=2):\n    os._exit(0)", 0, "crash"),
        ("class E:\n    def __eq__(self, o): return True\ndef total(*a, **k): return E()", 0, "raised"),
        ("class F(float):\n    def __eq__(self, o): return True\n    __hash__ = None\ndef total(*a, **k): return F(1)", 0, "raised"),
        ("import inspect\ndef total(*a, **k):\n    for f in inspect.stack():\n        for v in list(f.frame.f_locals.values()):\n            pass\n    return None", 0, "wrong"),
        ("def total(items, rate=2):\n    raise KeyError('x')", 0, "raised"),
        ("def total(items, rate=2:\n    return", 0, "raised"),
    ],
)  # fmt: skip
def test_what_is_wrong_scores_what_it_deserves(scorer: BackendScorer, answer: str, share: float, failure: str) -> None:
    result = scorer.score(TASK, answer)
    assert result.score == share, result
    assert result.failure in (failure, "no_function"), result
    assert result.message
    assert "6" not in result.message or "adding" in answer


def test_numbers_nan_and_values_of_the_standard_library(scorer: BackendScorer) -> None:
    truth = (
        "from datetime import date, datetime, timedelta\nfrom decimal import Decimal\nfrom fractions import Fraction\n"
        "def f(n):\n    return [date(2024, 2, 29), datetime(2024, 1, 1, 5), timedelta(days=n), Decimal('1.10'), Fraction(1, 3), float('nan'), 0.1 * 3][n]"
    )
    task = Task("v", "backend", "d", truth, tuple(f"f({n})" for n in range(7)))
    assert scorer.score(task, truth).success
    plain = truth.replace("Decimal('1.10')", "Decimal('1.1')").replace("0.1 * 3", "0.3")
    assert scorer.score(task, plain).passed == (True, True, True, True, True, True, False)
    assert BackendScorer(scorer.sandbox, tolerance=1e-9).score(task, plain).success
    assert not scorer.score(task, plain.replace("date(2024, 2, 29)", "'2024-02-29'")).passed[0]
    with pytest.raises(ValueError, match="tolerance"):
        BackendScorer(scorer.sandbox, tolerance=-1)


def test_a_truth_that_raises_wants_the_same_exception(scorer: BackendScorer) -> None:
    truth = "def f(n):\n    if n < 0:\n        raise ValueError('no')\n    return n"
    task = Task("r", "backend", "d", truth, ("f(-1)", "f(2)"))
    assert scorer.score(task, "def f(n):\n    if n < 0: raise ValueError('other words')\n    return n").success
    assert scorer.score(task, "def f(n):\n    return n").passed == (False, True)
    broken = Task("b", "backend", "d", "import numpy_is_not_here\ndef f(n): return n", ("f(1)",))
    with pytest.raises(TruthFailed, match="task b ") as failed:
        scorer.score(broken, truth)
    assert "numpy_is_not_here" not in str(failed.value), "its own text is hidden, and errors go into checkpoints"
    assert "numpy_is_not_here" in failed.value.detail


def test_what_a_program_finds_out_is_not_told(scorer: BackendScorer) -> None:
    spies = [
        "def total(items, rate=2):\n    raise KeyError(items)",
        "def total(*a, **k):\n    import sys\n    f = sys._getframe()\n    while f:\n        if 'calls' in f.f_locals: raise ValueError(f.f_locals['calls'])\n        f = f.f_back",
        "import sys\nf = sys._getframe()\nwhile f:\n    if 'calls' in f.f_locals: raise ValueError(f.f_locals['calls'])\n    f = f.f_back\ndef total(): pass",
        "def total(items, rate=2):\n    raise type(repr(items), (Exception,), {})",
    ]
    for spy in spies:
        told = scorer.score(TASK, spy).message
        assert told
        assert "[1, 2]" not in told
        assert "total(" not in told


def test_odd_values_never_break_the_scorer(scorer: BackendScorer) -> None:
    answer = "from decimal import Decimal\ndef total(items, rate=2):\n    return Decimal('sNaN')"
    assert scorer.score(TASK, answer).score == 0
    truth = (
        "from decimal import Decimal\ndef f(n):\n    return [Decimal('NaN'), complex(float('nan'), 0), float('nan')][n]"
    )
    task = Task("n", "backend", "d", truth, ("f(0)", "f(1)", "f(2)"))
    assert scorer.score(task, truth).success


def test_the_truth_runs_once_and_never_beside_the_program(
    scorer: BackendScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    real = Sandbox.run

    def run(self: Sandbox, code: str, *rest: Any) -> Any:
        ran.append(code)
        return real(self, code, *rest)

    monkeypatch.setattr(Sandbox, "run", run)
    task = Task("once", "backend", "d", "def f(x):\n    return x + 41 # hidden", ("f(1)",))
    for answer in ("def f(x): return 0", "def f(x): return 42"):
        scorer.score(task, answer)
    assert sum("hidden" in code for code in ran) == 1
    assert not any("hidden" in code and "return 0" in code for code in ran)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(plain, plain)
@settings(max_examples=200, deadline=None)
def test_equal_is_pythons_but_for_nan(left: object, right: object) -> None:
    assert equal(left, left)
    if left == right:
        assert equal(left, right)
    if "nan" not in repr(left):
        assert equal(left, right) == (left == right)
    assert equal(left, right) == equal(right, left)


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_gives_a_program(text: str) -> None:
    assert isinstance(program_for(text, "f"), str)


def test_quotations_of_quotations_are_taken_off_at_once() -> None:
    assert isinstance(program_for(">" * 800, "f"), str)
    assert "return 1" in program_for(">> def f():\n>>     return 1", "f")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"problem_description": ""}, "problem_description"),
        ({"ground_truth": 3}, "ground_truth"),
        ({"test_cases": []}, "test_cases"),
        ({"test_cases": {"a": "f("}}, "test_cases.a"),
        ({"test_cases": {"a": "1 + 1"}}, "no test calls a function"),
        ({"test_cases": None}, "test_cases is missing"),
        ({"split": "dev"}, "split"),
        ({"facts": [{"key": 1}]}, "facts"),
        ({"difficulty": "hard"}, "difficulty"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, **change}))
    with pytest.raises(BadTask, match=rf"rows\.jsonl, line 2: .*{told}"):
        read_tasks(path)


def test_the_function_that_is_tested_is_none_that_python_has() -> None:
    calls = ("len(total([1]))", "total([2])")
    assert task_of({**ROW, "test_cases": dict(enumerate(calls))}, "x").function == "total"
    assert task_of({**ROW, "test_cases": {"a": "sum([1])"}}, "x").function == "sum"


def test_files_are_kept_and_found_again(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    assert write_tasks([TASK], path) == 1
    (task_id,) = store_file(path, Settings())
    found = find_task(task_id, Settings())
    assert (found.description, found.calls, found.task_id) == (TASK.description, TASK.calls, task_id)
    separated = Task("y", "backend", "one line\u2028and\x85one more", TRUTH, TASK.calls)
    write_tasks([separated, TASK], path)  # such a line's end is a letter of the text, and not the end of a row
    assert [t.description for t in read_tasks(path)] == [separated.description, TASK.description]
    other = Task("x", "backend", "other", TRUTH, TASK.calls)
    assert store_tasks([other], "mine", Settings()) != [task_id]
    for bad in (
        "nothing",
        "../../etc/passwd/0",
        f"{task_id.split('/')[0]}/9",
        "own-backend/train/9/1",
        "own-backend/dev/1/1",
    ):
        with pytest.raises(BadTask):
            find_task(bad, Settings())


def test_mutants_are_of_five_kinds() -> None:
    found = dict(mutants("def f(x):\n    'words'\n    if x < 1 + 2:\n        return 'a'\n    return x"))
    assert set(found) == set(KINDS)
    assert len(KINDS) == 5
    assert all('"words"' in source for source in found.values())


@pytest.mark.skipif(not PUBLIC.exists(), reason="the public file is not here")
def test_public_references_score_1_and_mutants_less(scorer: BackendScorer) -> None:
    unusable, weak, made = [], 0, 0
    for number, task in enumerate(read_tasks(PUBLIC)):
        try:
            assert scorer.score(task, task.ground_truth).score == 1.0, number
        except TruthFailed:
            unusable.append(number)
            continue
        if number % 4 == 0:
            verdicts = [scorer.score(task, mutant).success for _, mutant in mutants(task.ground_truth)]
            made, weak = made + len(verdicts), weak + sum(verdicts)
    assert unusable == [118]  # it needs numpy
    assert made > 150
    assert weak / made < 0.15
