"""Unit tests of a function, run so that program and tests never share a process: neither can read or change the other.

The tests run in one sandboxed process, in which the functions under test are stand-ins; what the stand-ins are asked goes to
the program's own process, and its answers come back as plain data. So a program cannot see what is expected, patch an
assertion or answer with an object that equals everything.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.python import Limits, Sandbox
from sandbox.values import Value, source

MOST_ROUNDS = 12
"""How often tests may ask anew: a call that depends on an earlier answer is only known in the next round."""
GUARDED = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.With, ast.Try)
MOST_ITEMS = 10_000  # of an iterator that a program returns

HARNESS = '''
import copy as _copy
class NoAnswer(Exception):
    """The program gave no plain data."""
_missing, _results = [], []
class _Missing(BaseException): pass
def _stand_in(name):
    def function(*args, **kwargs):
        key = repr((name, args, kwargs))
        if key not in _ANSWERS:
            if all(key != known for known, *_ in _missing):
                _missing.append((key, name, _copy.deepcopy(args), _copy.deepcopy(kwargs)))
            raise _Missing()
        kind, value, after = _copy.deepcopy(_ANSWERS[key])
        for mine, theirs in zip(args, after):
            if isinstance(mine, list): mine[:] = theirs
            elif isinstance(mine, (dict, set)): mine.clear(); mine.update(theirs)
        if kind == "value": return value
        if kind == "iterator": return iter(value)
        import builtins
        known = getattr(builtins, kind, None)
        known = known if isinstance(known, type) and issubclass(known, Exception) else NoAnswer
        try: error = known(value)
        except Exception: error = NoAnswer(value)
        raise error
    function.__name__ = name
    return function
def _passed(line, text): _results.append([line, text, True, ""])
def _failed(line, text, error): _results.append([line, text, False, error])
def _name(error): return f"{type(error).__name__}: {error}"[:300]
def _report(): return [[list(m[1:]) for m in _missing], _results]
'''


@dataclass(frozen=True)
class TestResult:
    """What came of one assertion."""

    __test__ = False  # not a test of pytest's

    source: str
    passed: bool
    message: str = ""


@dataclass(frozen=True)
class TestReport:
    """What came of all assertions that were reached."""

    __test__ = False

    results: list[TestResult] = field(default_factory=list)
    program_error: str = ""
    """Why the program gave no answers at all, or not all: empty if it did."""
    tests_error: str = ""
    """Why the tests themselves could not be run to their end; then nothing has passed."""

    @property
    def passed(self) -> bool:
        """Whether there are assertions, and each holds."""
        return bool(self.results) and not self.tests_error and all(r.passed for r in self.results)

    @property
    def score(self) -> float:
        """Share of assertions that hold, from 0 to 1."""
        if not self.results or self.tests_error:
            return 0.0
        return sum(r.passed for r in self.results) / len(self.results)

    def feedback(self, most: int = 8) -> str:
        """What a programmer would be shown: each assertion that failed, and what came instead."""
        failed = [r for r in self.results if not r.passed]
        lines = [f"{len(self.results) - len(failed)} of {len(self.results)} assertions hold."]
        lines += [f"FAILED {r.source[:300]}  # {r.message}" for r in failed[:most]]
        if len(failed) > most:
            lines.append(f"… and {len(failed) - most} more.")
        lines += [text for text in (self.program_error, self.tests_error) if text]
        return "\n".join(lines)


def run_tests(
    sandbox: Sandbox, code: str, tests: str, functions: Sequence[str] = (), limits: Limits | None = None
) -> TestReport:
    """Run `tests`, Python source with assertions, against the functions of the program `code`.

    `functions` are the names that the tests may call; empty: those that the program defines. Arguments and results are
    plain data (an iterator counts as its items, lists and dicts changed in place are changed for the tests too). Raises
    SandboxFailed.
    """
    try:
        names = list(functions) or defined(code)
    except SyntaxError as error:
        return TestReport(
            program_error=f"The program is not Python: {error.msg} (line {error.lineno}).",
            tests_error="No test was run.",
        )
    try:
        harness = HARNESS + "".join(f"{n} = _stand_in({n!r})\n" for n in names) + instrument(tests)
    except SyntaxError as error:
        return TestReport(tests_error=f"The tests are not Python: {error.msg} (line {error.lineno}).")
    answers: dict[str, tuple[str, Value, Value]] = {}
    program_error = ""
    for _ in range(MOST_ROUNDS):
        ran = sandbox.run(f"_ANSWERS = {source(dict(answers))}\n{harness}", ["_report()"], limits)
        report = ran.answers[0]
        if report.error:
            return TestReport(tests_error=f"The tests could not be run: {ran.error or ran.feedback() or report.error}")
        try:
            missing, results = _read(report.value)
        except (TypeError, ValueError):
            return TestReport(tests_error="The tests wrote over what reports them.")
        if not missing:
            return TestReport(results, program_error, "" if results else "The tests assert nothing.")
        calls = [_call(name, args, kwargs) for name, args, kwargs in missing]
        outcome = sandbox.run(code, calls, limits)
        program_error = program_error or _told(outcome.why, outcome.error, outcome.feedback())
        for (name, args, kwargs), answer in zip(missing, outcome.answers, strict=True):
            key = repr((name, args, kwargs))
            kind, value, after = "NoAnswer", answer.message or answer.error, args
            if not answer.error and type(answer.value) is tuple and len(answer.value) == 3:
                kind, value, after = answer.value
            elif answer.error:
                kind = answer.error
                value = answer.message if answer.error.isidentifier() else f"{answer.error}: {answer.message}"
            answers[key] = (kind, value, after)
    return TestReport(
        program_error=program_error, tests_error="The tests ask call after call, each by the last one's answer."
    )


def defined(code: str) -> list[str]:
    """Names that a program binds at its top level to functions, in their order. Raises SyntaxError."""
    names: list[str] = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda | ast.Attribute | ast.Call | ast.Name):
            names += [t.id for t in node.targets if isinstance(t, ast.Name)]
    return list(dict.fromkeys(names))


def instrument(tests: str) -> str:
    """The tests with each assertion reported and each statement that lacks an answer passed over. Raises SyntaxError."""
    tree = ast.parse(tests)
    tree.body = _Reporting().statements(tree.body)
    return ast.unparse(ast.fix_missing_locations(tree))


class _Reporting:
    """Rewrites statements so that a failed assertion, and a question without an answer yet, stop nothing else.

    But for `while`: with its question passed over it would not end, so the question leaves the loop.
    """

    def statements(self, body: list[ast.stmt], in_while: bool = False) -> list[ast.stmt]:
        return [self.statement(node, in_while) for node in body]

    def statement(self, node: ast.stmt, in_while: bool) -> ast.stmt:
        if isinstance(node, ast.Assert):
            return self._assertion(node, in_while)
        inside = in_while or isinstance(node, ast.While)
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(node, name, None)
            if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                setattr(node, name, self.statements(inner, inside))
        if isinstance(node, GUARDED) and not in_while:
            guard = ast.parse("try:\n    pass\nexcept _Missing:\n    pass").body[0]
            assert isinstance(guard, ast.Try)
            guard.body = [node]
            return guard
        return node

    def _assertion(self, node: ast.Assert, in_while: bool) -> ast.stmt:
        text, line = ast.unparse(node)[:300], node.lineno
        told = "'it does not hold'"
        steps: list[ast.stmt] = []
        if isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            steps = ast.parse("_got = None").body
            assert isinstance(steps[0], ast.Assign)
            steps[0].value = node.test.left
            node.test.left = ast.Name("_got", ast.Load())
            told = "'got ' + repr(_got)[:200]"
        block = ast.parse(
            f"try:\n    assert True\n    _passed({line}, {text!r})\n"
            f"except _Missing:\n    {'raise' if in_while else 'pass'}\n"
            f"except AssertionError:\n    _failed({line}, {text!r}, {told})\n"
            f"except Exception as _error:\n    _failed({line}, {text!r}, _name(_error))"
        ).body[0]
        assert isinstance(block, ast.Try)
        node.msg = None
        block.body[0:1] = [*steps, node]
        return block


def _call(name: str, args: Value, kwargs: Value) -> str:
    """The call as an expression: what it gave, what kind that was, and its arguments as it left them."""
    shown = "('iterator', list(__import__('itertools').islice(r, %d)), a) if hasattr(type(r), '__next__') else ('value', r, a)"
    return f"(lambda a, k: (lambda r: {shown % MOST_ITEMS})({name}(*a, **k)))({source(list(args))}, {source(kwargs)})"


def _read(report: Any) -> tuple[list[tuple[str, Any, Any]], list[TestResult]]:
    """What `_report()` gave. The tests' process may have been written by a model: nothing in it is taken on trust."""
    missing, results = report
    asked = [(str(name), args, kwargs) for name, args, kwargs in missing]
    for name, args, kwargs in asked:
        if not name.isidentifier() or type(args) is not tuple or type(kwargs) is not dict:
            raise TypeError("a question that is no call")
    return asked, [TestResult(str(text), passed is True, str(message)) for _, text, passed, message in results]


def _told(why: str, error: str, feedback: str) -> str:
    return "" if why == "done" else f"The program raised {error}" if error else feedback
