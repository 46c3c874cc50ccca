"""Unit tests of a function, run so that program and tests never share a process: neither can read or change the other.

The tests run in one sandboxed process, in which the functions under test are stand-ins; what the stand-ins are asked goes to
the program's own process, and its answers come back as plain data. So a program cannot see what is expected, patch an
assertion or answer with an object that equals everything.
"""

import ast
import builtins
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.outcome import Answer, Limits
from sandbox.python import Sandbox
from sandbox.values import Value, source
from tasks.programs import NOT_PYTHON, program_for, program_in, simplified_variants
from tasks.test_harness import MOST_ITEMS

MOST_ROUNDS = 60
"""How often tests may ask anew: a call that depends on an earlier answer is only known in the next round."""
MOST_SOURCE = 100_000  # characters of tests, or of a program: Python's parser takes long over some that are longer
HARNESS = "_palimpsest"
"""The harness's module among the tests' names: the only name of ours that the tests' process has."""
GUARDED = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match)

_TEXT = Path(__file__).with_name("test_harness.py").read_text()
_LOADED = f"""
import types as {HARNESS}
{HARNESS} = {HARNESS}.ModuleType("harness")
exec({_TEXT!r}, {HARNESS}.__dict__)
"""


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
        return "\n".join(lines).encode(errors="backslashreplace").decode()  # a program's text may hold half a character


def run_tests(
    sandbox: Sandbox, code: str, tests: str, functions: Sequence[str] = (), limits: Limits | None = None
) -> TestReport:
    """Run `tests`, Python source with assertions, against the functions of the program `code`.

    `functions` are the names that the tests may call; empty: those that the program defines, the tests name, and Python does
    not have. Functions named `test…` are called, as pytest does. The tests see functions, plain data (sandbox.values) and the
    program's own exception classes only: an iterator is its items, lists and dicts changed in place are changed for the tests
    too, but there are no other classes, coroutines, or functions as arguments. Raises SandboxFailed.
    """
    for what, text in (("tests", tests), ("program", code)):
        if len(text) > MOST_SOURCE:
            return TestReport(tests_error=f"The {what}: {len(text)} characters; {MOST_SOURCE} can be looked at.")
    try:
        body, texts = instrument(tests)
        used = {node.id for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Name)}
    except NOT_PYTHON as error:
        return TestReport(tests_error=f"The tests are not Python: {_said(error)}.")
    try:
        own = [n for n in defined(code) if n in used and n not in vars(builtins)]
    except NOT_PYTHON as error:
        message = f"The program is not Python: {_said(error)}."
        return TestReport(program_error=message, tests_error="No test was run.")
    stand_ins = _exception_classes(code) + "".join(
        f"{name} = {HARNESS}.stand_in({name!r})\n"
        for name in functions or own
        if name.isidentifier() and name != HARNESS
    )
    asked: dict[str, str] = {}
    answers: dict[str, Given] = {}
    program_error = ""
    for _ in range(MOST_ROUNDS):
        counts = Counter(key.rpartition("#")[0] for key in answers)
        given = f"{HARNESS}.answers = {source(dict(answers))}\n{HARNESS}.answered = {source(dict(counts))}\n"
        ran = sandbox.run(f"{_LOADED}{given}{stand_ins}{body}", [f"{HARNESS}.report()"], limits)
        report = ran.answers[0]
        if report.error:
            message = ran.error or ran.feedback() or f"{report.error} {report.message}"
            return TestReport(tests_error=f"The tests could not be run: {message}")
        try:
            missing, results, crash = _read(report.value, texts)
        except (TypeError, ValueError, LookupError, ArithmeticError):
            return TestReport(tests_error="The tests wrote over what reports them.")
        if not missing:
            if crash:
                return TestReport(results, program_error, f"The tests could not be run to their end: {crash}")
            return TestReport(results, program_error, "" if results else "The tests assert nothing.")
        asked |= {key: _call(*call) for key, *call in missing}
        # All calls again, in the order of their asking: a function may count how often it was called.
        outcome = sandbox.run(code, list(asked.values()), limits)
        program_error = _program_error(outcome.exit_reason, outcome.error, outcome.feedback())
        answers = {key: _answer(answer) for key, answer in zip(asked, outcome.answers, strict=True)}
    return TestReport(
        program_error=program_error, tests_error="The tests ask call after call, each by the last one's answer."
    )


def reply_report(
    sandbox: Sandbox, reply: str, tests: str, functions: Sequence[str] = (), limits: Limits | None = None
) -> TestReport:
    """`run_tests` for the program of a reply: what defines the functions that the tests call, wherever it stands there. One that
    does not load for what is no part of its functions is tried without that. Raises SandboxFailed.
    """
    code = program_under_test(reply, tests, functions)
    report = run_tests(sandbox, code, tests, functions, limits)
    if report.program_error and not report.passed:
        for bare in simplified_variants(code):
            tried = run_tests(sandbox, bare, tests, functions, limits)
            if not tried.program_error:
                return tried
    return report


def program_under_test(reply: str, tests: str, functions: Sequence[str] = ()) -> str:
    """The program of a reply that defines the function under test; without one, as `program_in` has it."""
    for name in functions or _called(tests):
        code = program_for(reply, name)
        try:
            if name in defined(code):
                return code
        except NOT_PYTHON:
            continue
    return program_in(reply)


def _called(tests: str) -> list[str]:
    """Names that the tests call, and neither they nor Python define."""
    try:
        tree = ast.parse(tests)
    except NOT_PYTHON:
        return []
    names = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    own = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)} | set(vars(builtins))
    return [name for name in dict.fromkeys(names) if name not in own]


def _said(error: BaseException) -> str:
    return f"{error.msg} (line {error.lineno})" if isinstance(error, SyntaxError) else type(error).__name__


Given = tuple[str | list[str], Value, Value, Value]
"""What a stand-in is to do: the kind of answer or an exception's classes, the value, and the arguments as they were left."""


def _answer(answer: Answer) -> Given:
    if not answer.error and type(answer.value) is tuple and len(answer.value) == 4:
        kind, value, after, named = answer.value
        if kind in ("value", "iterator", "long iterator") and type(after) is list and type(named) is dict:
            return kind, value, after, named
    arguments = answer.arguments if answer.arguments is not None else [answer.message]
    return list(answer.classes) or [answer.error or "NoAnswer"], arguments, [], {}


def _exception_classes(code: str) -> str:
    """The program's own exception classes, for the tests to name. It is known to be Python."""
    lines: list[str] = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef) and node.name != HARNESS:
            for base in [ast.unparse(base) for base in node.bases if isinstance(base, ast.Name)]:
                made = f"{HARNESS}.define_exception({node.name!r}, {base!r})"
                lines.append(f"if {made}: {node.name} = {HARNESS}.exceptions[{node.name!r}]\n")
    return "".join(lines)


def defined(code: str) -> list[str]:
    """Names that a program binds at its top level to functions, in their order. Raises SyntaxError."""
    names: list[str] = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda | ast.Attribute | ast.Call | ast.Name):
            names += [t.id for t in node.targets if isinstance(t, ast.Name)]
    return list(dict.fromkeys(names))


def instrument(tests: str) -> tuple[str, list[str]]:
    """The tests with each assertion reported by number, and those assertions' texts. Raises SyntaxError and its like.

    A statement that lacks an answer is passed over; what ends the tests is reported once no answer is lacking.
    """
    tree = ast.parse(tests)
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    reporting = _Reporting()
    statements = [*(node for node in tree.body if node not in future), *_calls_of_tests(tree)]
    body = reporting.statements(statements)
    whole = ast.parse(
        f"try:\n    pass\nexcept {HARNESS}.Missing:\n    pass\n"
        f"except Exception as {HARNESS}_e:\n    {HARNESS}.crash.append({HARNESS}.error_text({HARNESS}_e))"
    )
    assert isinstance(whole.body[0], ast.Try)
    whole.body[0].body = body or [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(whole)), reporting.texts


def _calls_of_tests(tree: ast.Module) -> list[ast.stmt]:
    """Calls of the functions that pytest would run, where the tests do not call them themselves."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test") and not node.args.args
    ]
    return ast.parse("\n".join(f"{name}()" for name in names if name not in used)).body


class _Reporting:
    """Rewrites statements so that a failed assertion, and a question without an answer yet, stop nothing else.

    But for `while`: with its question passed over it would not end, so the question leaves the loop.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def statements(self, body: list[ast.stmt], in_while: bool = False) -> list[ast.stmt]:
        return [self.statement(node, in_while) for node in body]

    def statement(self, node: ast.stmt, in_while: bool) -> ast.stmt:
        if isinstance(node, ast.Assert):
            return self._assertion(node, in_while)
        inside = in_while or isinstance(node, ast.While)
        for part in [node, *getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            for name in ("body", "orelse", "finalbody"):
                inner = getattr(part, name, None)
                if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                    setattr(part, name, self.statements(inner, inside))
        if isinstance(node, GUARDED) and not in_while:
            guard = ast.parse(f"try:\n    pass\nexcept {HARNESS}.Missing:\n    pass").body[0]
            assert isinstance(guard, ast.Try)
            guard.body = [node]
            return guard
        return node

    def _assertion(self, node: ast.Assert, in_while: bool) -> ast.stmt:
        number = len(self.texts)
        self.texts.append(ast.unparse(node)[:300])
        steps: list[ast.stmt] = []
        reason = "'it does not hold'"
        if isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            steps = ast.parse(f"{HARNESS}_got = None").body
            assert isinstance(steps[0], ast.Assign)
            steps[0].value = node.test.left
            node.test.left = ast.Name(f"{HARNESS}_got", ast.Load())
            reason = f"{HARNESS}.got({HARNESS}_got)"
        block = ast.parse(
            f"try:\n    pass\n"
            f"except {HARNESS}.Missing:\n    {'raise' if in_while else 'pass'}\n"
            f"except Exception as {HARNESS}_e:\n    {HARNESS}.fails({number}, {HARNESS}.error_text({HARNESS}_e))\n"
        ).body[0]
        judged = ast.parse(
            f"if True:\n    {HARNESS}.holds({number})\nelse:\n    {HARNESS}.fails({number}, {reason})"
        ).body[0]
        assert isinstance(block, ast.Try)
        assert isinstance(judged, ast.If)
        judged.test = node.test
        block.body = [*steps, judged]
        return block


def _call(name: str, args: Value, kwargs: Value, iterators: Value) -> str:
    """The call as an expression: what kind of answer, the answer, and its arguments, if it changed them. It goes by no name that
    the program may have given to something else, but for the function's own."""
    o, most = f"{HARNESS}_", MOST_ITEMS
    items = f"{o}b.list({o}b.__import__('itertools').islice({o}r, {most + 1}))"
    kind = f"'long iterator' if {o}b.len({o}i) > {most} else 'iterator'"
    iterated = f"(lambda {o}i: ({kind}, {o}i[:{most}]))({items})"
    shown = f"({iterated} if {o}b.hasattr({o}b.type({o}r), '__next__') else ('value', {o}r))"
    changed = f"(({o}b.list({o}a), {o}k) if ({o}a, {o}k) != {o}was else ([], {{}}))"
    called_with = f"*{o}a, **{o}k"
    if iterators:
        called_with = ", ".join(
            [f"{o}b.iter({o}a[{n}])" if n in iterators else f"{o}a[{n}]" for n in range(len(args))]
            + [f"{key}={o}b.iter({o}k[{key!r}])" if key in iterators else f"{key}={o}k[{key!r}]" for key in kwargs]
        )
    called = f"(lambda {o}was, {o}r: {shown} + {changed})({o}copy(({o}a, {o}k)), {name}({called_with}))"
    given = f"{source(list(args))}, {source(kwargs)}, __import__('builtins'), __import__('copy').deepcopy"
    return f"(lambda {o}a, {o}k, {o}b, {o}copy: {called})({given})"


Asked = tuple[str, str, Value, Value, Value]


def _read(report: Any, texts: list[str]) -> tuple[list[Asked], list[TestResult], str]:
    """What the harness reported. Its process may have run a model's tests: nothing in it is taken on trust."""
    missing, seen, shown, crash = report
    asked = [(str(key), str(name), args, kwargs, iterators) for key, name, args, kwargs, iterators in missing]
    for _, name, args, kwargs, iterators in asked:
        sound = name.isidentifier() and type(args) is tuple and type(kwargs) is dict and type(iterators) is list
        if not sound or not all(type(key) is str and key.isidentifier() for key in kwargs if iterators):
            raise TypeError("a question that is no call")
    messages = {int(number): str(message) for number, message in reversed(shown)}
    results = [
        TestResult(texts[n], True) if n >= 0 else TestResult(texts[-1 - n], False, messages.get(-1 - n, ""))
        for n in seen
    ]
    return asked, results, str(crash[0]) if crash else ""


def _program_error(why: str, error: str, feedback: str) -> str:
    return "" if why == "done" else f"The program raised {error}" if error else feedback
