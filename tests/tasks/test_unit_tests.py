"""Unit tests whose program cannot cheat and whose right programs pass; readers of public files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.choose import open_sandbox
from sandbox.outcome import Limits
from sandbox.python import Sandbox
from settings import Settings
from tasks.hotpotqa import exact_match, f1, read_hotpotqa
from tasks.humanevalpack import read_humanevalpack
from tasks.quixbugs import read_quixbugs
from tasks.unit_tests import TestReport, reply_report, run_tests

TESTS = "assert f(1) == 2\nassert f([1, 2]) == 3\nassert f('a') == 'b'"
RIGHT = "def f(x): return {1: 2, 'a': 'b'}.get(x if not isinstance(x, list) else None, 3)"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(Settings(), "auto", 1) as opened:
        yield opened


def test_right_wrong_and_partly_right(sandbox: Sandbox) -> None:
    assert run_tests(sandbox, RIGHT, TESTS).passed
    report = run_tests(sandbox, "def f(x): return 2", TESTS)
    assert (report.score, report.passed) == (1 / 3, False)
    assert report.feedback().splitlines()[1] == "FAILED assert f([1, 2]) == 3  # got 2"


CHEATS = {
    "an object that equals all": "class A:\n    def __eq__(self, o): return True\ndef f(x): return A()",
    "a number that equals all": "class A(int):\n    def __eq__(self, o): return True\n    __hash__ = None\ndef f(x): return A(9)",
    "walks the frames": "import sys\ndef f(x):\n    g = sys._getframe()\n    while g:\n        for v in g.f_locals.values():\n"
    "            if chr(61) * 2 + ' 2' in str(v): return 2\n        g = g.f_back\n    return 0",
    "patches what tests": "import builtins, sys\nbuiltins.AssertionError = ZeroDivisionError\n"
    "sys.exit = lambda *a: None\ndef f(x): return None",
    "ends the process": "import os\ndef f(x): os._exit(0)",
    "ends politely": "import sys\ndef f(x): sys.exit(0)",
    "ends at import": "raise SystemExit(0)",
    "raises what passes": "class AssertionPassed(Exception): pass\ndef f(x): raise AssertionPassed()",
    "names as the stand-in's": "_passed = print\ndef _report(): return [[], [[1, 'x', True, '']]]\ndef f(x): return 0",
    "forges the report": 'import os\nos.write(3, b\'[0, "R", ["l", []]]\\n\')\ndef f(x): return 0',
    "a mutable that changes": "class L(list):\n    def __eq__(self, o): return True\ndef f(x): return L()",
    "not defined at all": "g = 1",
    "stands in for built-ins": "def f(x): return 0\ndef abs(x): return 0\ndef round(x): return 2\ndef repr(x): return ''",
    "stops an iteration": "def f(x): raise StopIteration",
    "reads the memory of its worker": "import ctypes, os, re\nlibc = ctypes.CDLL(None)\nlibc.sbrk.restype = ctypes.c_void_p\n"
    "top, (a, b), found = libc.sbrk(0), os.pipe(), []\nfor n in range(1, 3000):\n"
    "    if libc.write(b, ctypes.c_void_p(top - n * 4096), 4096) == 4096:\n"
    "        found += re.findall(rb'f\\(1\\) == (\\d+)', os.read(a, 4096))\ndef f(x): return int(found[0]) if found else 0",
}


@pytest.mark.parametrize(
    ("cheat", "test"),
    [
        ("def abs(x): return 0", "assert abs(f(2) - 1.414) < 1e-3"),
        ("def round(x, n): return 1.41", "assert round(f(2), 2) == 1.41"),
        ("def str(x): return 'right'", "assert str(f(2)) == 'right'"),
        ("def _palimpsest(*a): return None", "assert f(2) == 1\nassert _palimpsest"),
    ],
)
def test_a_program_that_replaces_what_tests_use_changes_no_test(cheat: str, test: str, sandbox: Sandbox) -> None:
    report = run_tests(sandbox, f"def f(x): return 0\n{cheat}", test)
    assert not report.passed
    assert not report.results[0].passed


@pytest.mark.parametrize("name", CHEATS)
def test_cheats_pass_nothing(name: str, sandbox: Sandbox) -> None:
    report = run_tests(sandbox, CHEATS[name], TESTS, ["f"], Limits(cpu_seconds=0.3))
    assert (report.passed, report.score) == (False, 0.0), report


def test_style_of_tests_and_programs(sandbox: Sandbox) -> None:
    program = (
        "def sort(x): x.sort()\ndef numbers(n): yield from range(n)\ndef fail(x): raise KeyError(x)\n"
        "def sum2(a, *, b=1): return a + b"
    )
    tests = """
def check(candidate):
    import math
    items = [3, 1, 2]
    candidate(items)
    assert items == [1, 2, 3]
    total = 0
    for n in range(3):
        total += sum2(n, b=n)
        assert sum2(n) == n + 1
    assert total == 6, "the total"
    assert list(numbers(3)) == [0, 1, 2]
    assert math.isclose(sum2(0.1, b=0.2), 0.3)
    try:
        fail("k")
        raised = False
    except KeyError:
        raised = True
    assert raised
check(sort)
"""
    report = run_tests(sandbox, program, tests)
    assert report.passed, report.feedback()
    assert len(report.results) == 8


RIGHT_PROGRAMS = {
    "a statement after a question": (
        "def f(x): return x + 1",
        "r = f(3)\nn = r + 1\nassert n == 5\nassert [f(i) for i in range(3)] == [1, 2, 3]",
    ),
    "sets and counters": ("def f(s): return len(s)", "assert f({'b', 'a', 'c'}) == 3\nassert f(frozenset('xyz')) == 3"),
    "its own assertion": (
        "def f(x):\n    assert x > 5\n    return x",
        "try:\n    f(1)\nexcept AssertionError:\n    caught = True\nassert caught",
    ),
    "messages and arguments": (
        "def f(x): raise ValueError('neg', x)",
        "try:\n    f(1)\n    assert False\nexcept ValueError as e:\n    assert e.args == ('neg', 1)\n    assert 'neg' in str(e)",
    ),
    "cases": ("def f(x): return x", "match f(2):\n    case 2:\n        assert f(3) == 3"),
    "hundreds of calls": ("def f(x): return x * x", "for i in range(500):\n    assert f(i) == i * i"),
    "an endless iterator": (
        "import itertools\ndef f(): return itertools.count()",
        "g = f()\nassert next(g) == 0\nassert next(g) == 1",
    ),
    "from the future": ("def f(x): return x", "from __future__ import annotations\nassert f(1) == 1"),
    "a long chain": ("def f(x): return x + 1", "x = 0\nfor _ in range(20):\n    x = f(x)\nassert x == 20"),
    "a function that counts": (
        "n = 0\ndef f():\n    global n\n    n += 1\n    return n",
        "assert f() == 1\nassert f() == 2",
    ),
    "named arguments in place": ("def f(d): d.append(1)", "x = [0]\nf(d=x)\nassert x == [0, 1]"),
}


@pytest.mark.parametrize("name", RIGHT_PROGRAMS)
def test_right_programs_pass(name: str, sandbox: Sandbox) -> None:
    report = run_tests(sandbox, *RIGHT_PROGRAMS[name])
    assert report.passed, report.feedback()


def test_one_assertion_that_cannot_be_asked_fails_alone(sandbox: Sandbox) -> None:
    report = run_tests(
        sandbox, "def f(x): return x\ndef g(h): return h(1)", "assert f(1) == 1\nassert g(lambda x: x) == 1"
    )
    assert [r.passed for r in report.results] == [True, False]
    assert "no plain data" in report.feedback()


def test_tests_that_depend_on_answers_take_rounds(sandbox: Sandbox) -> None:
    assert run_tests(sandbox, "def f(x): return x + 1", "assert f(f(f(1))) == 4").passed
    endless = "x = 0\nwhile x < 1000:\n    x = f(x)\nassert x == 1000"
    assert "ask call after call" in run_tests(sandbox, "def f(x): return x + 1", endless).tests_error


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("def a(x): return x + 1", "assert a(1) == 2"),
        ("def k(x, y=1): return x + y", "assert k(1, y=2) == 3"),
        ("type = list = len = hasattr = 'mine'\ndef f(x): return [x]", "assert f(1) == [1]"),
        ("def f(x): return x", "assert f(10**5000) == 10**5000"),
        ("def f(x): return x + 1", "x = 0\nfor i in range(50): x = f(x)\nassert x == 50"),
        ("n = 0\ndef f():\n    global n\n    n += 1\n    return n", "assert [f() for _ in range(40)] == list(range(1, 41))"),
        ("def f(x): return x[::-1]", "assert f(list(range(2_300))) == list(range(2_300))[::-1]"),
        ("def f(x): x.sort()", "x = [3, 1, 2]\nf(x)\nassert x == [1, 2, 3]"),
        ("def f(x): yield from x\n", "assert list(f([1, 2])) == [1, 2]"),
    ],
)  # fmt: skip
def test_right_programs_pass_whatever_their_names_and_sizes(code: str, tests: str, sandbox: Sandbox) -> None:
    report = run_tests(sandbox, code, tests, limits=Limits(cpu_seconds=2))
    assert report.passed, report.feedback()


def test_feedback_can_be_written_down(sandbox: Sandbox) -> None:
    """A program's message may hold half a character."""
    told = run_tests(sandbox, "def f(): raise ValueError('\\ud800')", "assert f() == 1").feedback()
    assert "ValueError" in told
    told.encode()


@pytest.mark.parametrize(
    ("code", "tests", "told"),
    [
        ("def f(:", "assert f(1)", "not Python"), ("def f(x): pass", "assert f(", "not Python"),
        ("def f(x): pass", "f(1)", "assert nothing"),
        ("x = 1 / 0\ndef f(x): return 1", "assert f(1) == 1", "ZeroDivisionError"),
        ("def f(x): return 1", "import os; os._exit(0)", "could not be run"),
        ("def f(x): return 1", "while True: pass", "could not be run"),
        ("def f(x):\n    while True: pass", "assert f(1) == 1", "endless loop"),
        ("def f(x): return 1", "_palimpsest.report = lambda: 5\nassert f(1) == 1", "wrote over"),
        ("def f(x): return 1", "_palimpsest.crash = {1: 2}\nassert f(1) == 1", "wrote over"),
        ("def f(x): return 2", "_palimpsest.explained.append([float('inf'), 'x'])\nassert f(1) == 1", "wrote over"),
        ("y = " + "-" * 90_000 + "1", "assert f(1) == 1", "not Python"),
        ("y = f'" + "{x}" * 40_000 + "'", "assert f(1) == 1", "100000 can be looked at"),
        ("def f(x): return 1", "assert f(" + "-" * 5_000 + "1)", "not Python"),
        ("def f(x): return '\ud800'", "assert f(1) == 1", "not Python"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told_and_passes_nothing(code: str, tests: str, told: str, sandbox: Sandbox) -> None:
    report = run_tests(sandbox, code, tests, limits=Limits(cpu_seconds=0.3))
    assert not report.passed
    assert report.score == 0.0
    assert told in report.feedback()
    assert TestReport().passed is False


def test_readers_name_the_line_and_the_field(tmp_path: Path) -> None:
    row = {
        "task_id": "T/0",
        "entry_point": "f",
        "prompt": "import math\ndef f(x):\n",
        "declaration": "def f(x):\n",
        "docstring": "d",
        "buggy_solution": "    return 0\n",
        "canonical_solution": "    return x\n",
        "test": "assert f(1) == 1",
        "example_test": "assert f(0) == 0",
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    (task,) = read_humanevalpack(path)
    assert task.tests == "import math\n\n\nassert f(1) == 1"
    assert "def f(x):\n    return 0" in task.description
    del row["test"]
    path.write_text(json.dumps(row))
    with pytest.raises(ValueError, match="line 1: the field 'test' is missing"):
        read_humanevalpack(path)
    for reader in (read_quixbugs, read_hotpotqa):
        with pytest.raises(ValueError, match=r"line 1: the field .* is missing"):
            reader(path)


def test_hotpotqa_scores_are_the_official_ones() -> None:
    assert exact_match("The  Eiffel-Tower.", "eiffeltower")
    assert f1("the big red dog", "a red dog") == pytest.approx(0.8)
    assert f1("yes", "yes it is") == 0.0
    assert f1("cat", "dog") == 0.0


CROSSINGS = {
    "a date": ("def f(d): return (d - __import__('datetime').date(2024, 1, 1)).days",
               "from datetime import date\nassert f(date(2024, 2, 1)) == 31"),
    "a moment back": ("import datetime\ndef f(s): return datetime.datetime.fromisoformat(s)",
                      "import datetime as d\nassert f('2024-02-01T10:00') == d.datetime(2024, 2, 1, 10)"),
    "a span": ("import datetime\ndef f(n): return datetime.timedelta(hours=n)",
               "import datetime\nassert f(2) == datetime.timedelta(seconds=7200)\nassert f(n=1).total_seconds() == 3600"),
    "decimals": ("def f(a, b): return a + b", "from decimal import Decimal as D\nassert f(D('0.1'), D('0.2')) == D('0.3')"),
    "fractions": ("def f(a): return a / 2", "from fractions import Fraction as F\nassert f(F(1, 3)) == F(1, 6)"),
    "a range": ("def f(r): return list(r)", "assert f(range(2, 9, 3)) == [2, 5, 8]"),
    "a range back": ("def f(n): return range(n)", "assert f(3) == range(3)\nassert list(f(2)) == [0, 1]"),
    "a named tuple": ("def f(p): return p.x + p.y",
                      "from collections import namedtuple\nP = namedtuple('P', 'x y')\nassert f(P(1, y=2)) == 3"),
    "a named tuple back": ("from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int = 7\n"
                           "def f(x): return [P(x)]", "p, = f(1)\nassert p.y == 7\nassert p == (1, 7)\nassert p._asdict() == {'x': 1, 'y': 7}"),
    "a generator": ("def f(items): return sum(items)", "assert f(n * n for n in range(4)) == 14\nassert f(items=iter([1, 2])) == 3"),
    "a generator back": ("def f(n):\n    while True:\n        yield n\n        n += 1", "g = f(5)\nassert next(g) == 5\nassert next(g) == 6"),
    "a generator there and back": ("def f(items): return (2 * i for i in items)", "assert list(f(map(int, '12'))) == [2, 4]"),
    "an own exception": ("class Negative(ValueError): pass\ndef f(n):\n    if n < 0: raise Negative(n)\n    return n",
                         "try:\n    f(-1)\nexcept ValueError as error:\n    assert error.args == (-1,)\nelse:\n    assert False\nassert f(2) == 2"),
    "an own exception by its name": ("class Own(Exception): pass\nclass Deeper(Own): pass\ndef f(): raise Deeper('x')",
                                     "try:\n    f()\nexcept Own as error:\n    assert type(error) is Deeper and str(error) == 'x'\nelse:\n    assert False"),
    "an own exception with a mixin": ("class Mixin: pass\nclass Own(Mixin, KeyError): pass\ndef f(): raise Own('k') from None",
                                      "try:\n    f()\nexcept KeyError as error:\n    assert type(error) is Own and error.args == ('k',)\nelse:\n    assert False"),
    "an exception of a module": ("import json, decimal\ndef f(text): return json.loads(text)\ndef g(text): return decimal.Decimal(text)",
                                 "import json, decimal\ntry:\n    f('{')\nexcept json.JSONDecodeError as error:\n    assert isinstance(error, ValueError)\nelse:\n    assert False\n"
                                 "try:\n    g('x')\nexcept decimal.InvalidOperation:\n    assert f('1') == 1\nelse:\n    assert False"),
    "an exception made in a function": ("def f():\n    class Local(KeyError): pass\n    raise Local('k')",
                                        "try:\n    f()\nexcept LookupError as error:\n    assert error.args == ('k',)\nelse:\n    assert False"),
    "functions as pytest runs them": ("def f(x): return x + 1", "def test_one():\n    assert f(1) == 2\ndef test_two():\n    assert f(2) == 3"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "tests"), CROSSINGS.values(), ids=CROSSINGS)
def test_what_crosses_the_border_between_tests_and_program(sandbox: Sandbox, code: str, tests: str) -> None:
    report = run_tests(sandbox, code, tests)
    assert report.passed, report.feedback()


@pytest.mark.parametrize(
    ("code", "tests", "told"),
    [
        ("def f(x): return x()", "assert f(lambda: 1) == 1", "an argument that is no plain data"),
        ("def f(x): return 1", "import itertools\nassert f(itertools.count()) == 1", "more than 2000 items"),
        ("class P: pass\ndef f(): return P()", "assert f() == 1", "not plain data: ['a value of type P"),
        ("from collections import namedtuple\nP = namedtuple('P', 'x')\nP._fields = ('class',)\ndef f(): return P(1)",
         "assert f() == (1,)", "NoAnswer"),
        ("class E(StopIteration): pass\ndef f(): raise E()", "assert f() == 1", "NoAnswer: E"),
        ("def f(x): return x", "def test_one():\n    assert f(1) == 2", "got 1"),
    ],
)  # fmt: skip
def test_what_cannot_cross_is_told(sandbox: Sandbox, code: str, tests: str, told: str) -> None:
    report = run_tests(sandbox, code, tests)
    assert not report.passed
    assert told in report.feedback()


ROMAN = 'def roman(n):\n    return {1: "I", 4: "IV"}[n]\n'
REPLIES = {
    "a block of tests after it": f"```python\n{ROMAN}```\n\n```python\ndef test_roman():\n    assert roman(1) == 'I'\n```",
    "a helper in one block": "```python\nNAMES = {1: 'I', 4: 'IV'}\n```\n\n```python\ndef roman(n):\n    return NAMES[n]\n```",
    "a variant of another name": f"```python\n{ROMAN}```\n\nOr:\n\n```python\ndef roman_short(n):\n    return 'V'\n```",
    "a fence in its docstring": '```python\ndef roman(n):\n    """Such as\n\n    ```\n    roman(1)\n    ```\n    """\n    return {1: "I", 4: "IV"}[n]\n```',
    "prose round it": f"Here is the function:\n\n{ROMAN}\nIt works for 1 and 4.",
    "a class": "```python\nclass Solution:\n    def roman(self, n):\n        return {1: 'I', 4: 'IV'}[n]\n```",
    "input() at its end": f"```python\n{ROMAN}\nprint(roman(int(input())))\n```",
    "an exit at its end": f"```python\nimport sys\n{ROMAN}\nsys.exit(0)\n```",
    "a mark of byte order": f"```python\n\ufeff{ROMAN}```",
    "a main guard": f"```python\n{ROMAN}\nif __name__ == '__main__':\n    print(roman(1))\n```",
}


@pytest.mark.parametrize("reply", REPLIES)
def test_the_program_of_a_reply_is_what_defines_the_function(sandbox: Sandbox, reply: str) -> None:
    report = reply_report(sandbox, REPLIES[reply], "assert roman(1) == 'I'\nassert roman(4) == 'IV'")
    assert report.passed, report.feedback()
