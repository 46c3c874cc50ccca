"""run_python as its callers see it: right programs are scored right, whatever happens to the process that ran them."""

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import wasm
from sandbox.choose import choose_sandbox, open_sandbox, run_python
from sandbox.native import Worker, WorkerDied, has_native
from sandbox.outcome import Limits, SandboxFailed, SandboxUnavailable
from sandbox.python import Sandbox
from sandbox.values import Unreadable, call_source, read_lines, read_value, same, source
from settings import Settings

ROOT = Path(__file__).parents[2]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=20)
    | st.binary(max_size=20) | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(st.text(max_size=5) | st.integers() | st.tuples(st.integers(), st.text(max_size=3)), inner, max_size=4)
    | st.sets(st.integers() | st.text(max_size=5), max_size=4) | st.frozensets(st.integers(), max_size=4),
    max_leaves=15,
)  # fmt: skip

STYLES = {
    "imports at the top": ("import math\nfrom collections import deque\ndef f(x): return math.floor(x) + len(deque([x]))", 4),
    "helper functions": ("def helper(x): return x + 1\ndef f(x): return helper(x)", 4),
    "recursion": ("def f(x): return x + 1 if x > 2 else f(x + 3) - 3", 4),
    "classes": ("class A:\n    STEP = 1\n    def g(self, x): return x + self.STEP\nf = A().g", 4),
    "constants": ("STEP: int = 1\nf = lambda x: x + STEP", 4),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n    def up(self): return self.x + 1\n"
        "def f(x): return P(x).up()", 4,
    ),
    "future and typing": ("from __future__ import annotations\nimport typing\ndef f(x: typing.Optional[Foo]): return x + 1", 4),
    "main guard": ("def f(x): return x + 1\nif __name__ == '__main__':\n    f = None", 4),
    "named tuple": ("from collections import namedtuple\nT = namedtuple('T', 'a b')\ndef f(x): return T(x, 1)", (3, 1)),
    "int enum": ("import enum\nclass E(enum.IntEnum):\n    FOUR = 4\ndef f(x): return E.FOUR", 4),
    "counter": ("import collections\ndef f(x): return collections.Counter([x, x])", {3: 2}),
    "default dict": ("from collections import defaultdict\ndef f(x):\n    d = defaultdict(int, {x: 1})\n    return d", {3: 1}),
    "generator inside": ("def f(x): return sum(i for i in range(x)) + 1", 4),
    "caught errors": ("def f(x):\n    try:\n        return 1 / 0\n    except ZeroDivisionError:\n        return 4", 4),
    "global counter": ("n = 0\ndef f(x):\n    global n\n    n += 1\n    return x + n", 4),
    "regular expressions": ("import re\ndef f(x): return int(re.sub('3', '4', str(x)))", 4),
    "decimal and dates": ("import decimal, datetime\ndef f(x): return int(decimal.Decimal(x)) + datetime.timedelta(1).days", 4),
    "prints": ("print('loading')\ndef f(x):\n    print(x)\n    return 4", 4),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_right_programs_are_right_whatever_their_style(style: str, sandbox: Sandbox) -> None:
    code, expected = STYLES[style]
    outcome = sandbox.run(code, ["f(3)"])
    assert outcome.answers[0].equals(expected), outcome
    assert outcome.exit_reason == "done"
    assert isinstance(outcome.answers[0].value, int | tuple | dict)


@settings(deadline=None)
@given(value=PLAIN)
def test_plain_data_survives_source_and_answer(value: Any) -> None:
    again = _sandbox().run("", [source(value)]).answers[0]
    assert again.equals(value)
    assert repr(again.value) == repr(value) or isinstance(value, dict | set | frozenset | list | tuple)


FORGED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["Fraction", "date", "1/3"]),
    lambda x: (
        st.lists(x, max_size=3)
        | st.builds(lambda tag, body: [tag, *body], st.sampled_from("ifcbodltSF!"), st.lists(x, max_size=3))
    ),
)


@given(FORGED)
def test_no_forged_answer_escapes(forged: Any) -> None:
    with contextlib.suppress(Unreadable):
        read_value(forged)


@given(st.binary(max_size=300))
def test_no_forged_line_escapes(raw: bytes) -> None:
    assert all(size <= len(raw) and type(line) is list for size, line in read_lines(raw))


def test_values_compare_as_python_does() -> None:
    assert same(1, 1.0)
    assert not same((1,), [1])
    assert not same(float("nan"), float("nan"))
    assert call_source("f", [[1, None], "a"]) == "f([0x1, None], 'a')"


def test_an_answer_is_plain_data_or_none(sandbox: Sandbox) -> None:
    code = "import re\ndef f(x): return re.compile(x)\ndef g(): raise KeyError('k')\ndef h(): return 'x' * 70_000"
    refused, raised, large, small = sandbox.run(code, ["f('a')", "g()", "h()", "1"]).answers
    assert (refused.error, refused.message) == ("not plain data", "a value of type Pattern")
    assert (raised.error, raised.message, raised.where) == ("KeyError", "'k'", " (line 3)")
    assert large.error == "not plain data"
    assert "64000 bytes" in large.message
    assert small.equals(1)


def test_a_call_that_ends_the_process_loses_only_its_own_answer(sandbox: Sandbox) -> None:
    code = "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    return x"
    outcome = sandbox.run(code, ["f(0)", "f(1)", "f(2)", "f(1)", "f(4)"])
    assert [(a.value, a.error) for a in outcome.answers] == [
        (0, ""),
        (None, "crash"),
        (2, ""),
        (None, "crash"),
        (4, ""),
    ]
    assert outcome.exit_reason == "crash"


def test_one_cpu_budget_for_all_calls(sandbox: Sandbox) -> None:
    code = "def f(x):\n    while x == 1: pass\n    return x"
    begun = time.monotonic()
    outcome = sandbox.run(code, ["f(0)"] + ["f(1)"] * 50, Limits(cpu_seconds=0.2))
    assert outcome.answers[0].equals(0)
    assert {a.error for a in outcome.answers[1:]} == {"cpu"}
    assert 0.19 <= outcome.cpu_seconds <= 0.5
    assert time.monotonic() - begun < 10
    assert "endless loop" in outcome.feedback()


def test_answers_are_bounded_over_all_processes_of_a_program(sandbox: Sandbox) -> None:
    """Each process that is begun anew after a crash could write as much again."""
    code = "import os\ndef f(n):\n    if n % 2: os._exit(1)\n    return 'x' * 30_000"
    answers = sandbox.run(code, [f"f({n})" for n in range(8)]).answers
    assert [a.error for a in answers] == ["", "crash", "", "crash", *["not plain data", "crash"] * 2]


def test_fractions_of_one_hash_are_refused_as_keys() -> None:
    fractions_ = [["o", "Fraction", str(n * ((1 << 61) - 1))] for n in range(1, 300)]
    assert len(read_value(["l", fractions_])) == 299
    for forged in (["S", fractions_], ["d", [[f, None] for f in fractions_]], ["F", [["t", fractions_]]]):
        with pytest.raises(Unreadable, match="more than 200 Fractions"):
            read_value(forged)


def test_thousands_of_errors_are_all_told(sandbox: Sandbox) -> None:
    code = "def f(n): raise ValueError('\U0001f600' * 300 + str(n))"
    answers = sandbox.run(code, [f"f({n})" for n in range(2_000)], Limits(cpu_seconds=5)).answers
    assert {a.error for a in answers} == {"ValueError"}
    assert answers[0].message
    assert not answers[-1].message  # 64 KB of messages in all


def test_a_program_too_large_for_its_limits_is_its_own_fault(sandbox: Sandbox) -> None:
    long = "x = 1#" + "\U0001f600" * 900_000
    assert sandbox.run(long, ["x"], Limits(cpu_seconds=0.01)).exit_reason in ("cpu", "done")
    assert sandbox.run("x = 1", [f"{n}" for n in range(100_000)], Limits(cpu_seconds=0.01)).exit_reason == "cpu"


class Text(str):
    """What a library may give instead of a plain string."""


def test_a_program_may_be_any_kind_of_string(sandbox: Sandbox) -> None:
    assert sandbox.run(Text("x = 1"), [Text("x")]).answers[0].equals(1)


def test_recursion_as_deep_as_in_an_interpreter(sandbox: Sandbox) -> None:
    outcome = sandbox.run("def r(n): return r(n - 1) + 1 if n else 0", ["r(995)", "r(2000)"])
    assert outcome.answers[0].equals(995)
    assert outcome.answers[1].error == "RecursionError"


def test_threads_up_to_a_number(sandbox: Sandbox) -> None:
    if sandbox.kind == "wasm":
        pytest.skip("has none")
    code = """
from concurrent.futures import ThreadPoolExecutor
import threading
def few():
    with ThreadPoolExecutor(8) as pool: return list(pool.map(lambda x: x * x, range(20)))
def many():
    for n in range(1000):
        try: threading.Thread(target=len, args=([],)).start()
        except RuntimeError: return n
"""
    answers = sandbox.run(code, ["few()", "many()"]).answers
    assert answers[0].equals([n * n for n in range(20)])
    assert 0 < answers[1].value < 200


def test_the_first_answer_of_a_call_wins(sandbox: Sandbox) -> None:
    code = """
import os
def f(x):
    for fd in range(3, 8):
        try: os.write(fd, b'[1, "R", true]\\n')
        except OSError: pass
    return x
"""
    outcome = sandbox.run(code, ["f(5)", "f(6)"])
    assert outcome.answers[1].value in ((True,) if sandbox.kind != "wasm" else (6,))  # its own loss, whatever it writes


def test_the_module_that_raises_says_where(sandbox: Sandbox) -> None:
    outcome = sandbox.run("x = 1\ny = x / 0", ["x", "y"])
    assert outcome.error == "ZeroDivisionError: division by zero (line 2)"
    assert {a.error for a in outcome.answers} == {"failed"}
    assert "SyntaxError" in sandbox.run("def f(:", ["1"]).error
    assert "UnicodeEncodeError" in sandbox.run("'\ud800'", ["1"]).error
    assert sandbox.run("x" * (1 << 21), ["1"]).exit_reason == "refused"


def test_output_is_kept_up_to_its_limit(sandbox: Sandbox) -> None:
    outcome = sandbox.run(
        "print('a' * 10)\nimport sys\nprint('e', file=sys.stderr)", ["print('b' * 100)"], Limits(output_characters=50)
    )
    assert outcome.output == "aaaaaaaaaa\ne\n" + "b" * 37


@pytest.mark.skipif(not has_native(), reason="needs Linux with Landlock")
@pytest.mark.parametrize("kind", ["bubblewrap", "landlock"])
def test_a_program_holds_its_own_channel_only(kind: str) -> None:
    """Also where the worker's socket has a high number, as in a parent that holds many files."""
    code = "import os\ndef f(fd):\n    try: return bool(os.fstat(fd))\n    except OSError: return False"
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(open(os.devnull))
        sandbox = stack.enter_context(open_sandbox(Settings(), kind, 1))
        answers = sandbox.run(code, [f"f({fd})" for fd in range(300)]).answers
    assert [n for n, answer in enumerate(answers) if answer.value] == [0, 1, 2, 3]


def test_programs_do_not_see_each_other(sandbox: Sandbox) -> None:
    sandbox.run("import math\nmath.pi = 3\nimport builtins\nbuiltins.len = None", ["1"])
    assert sandbox.run("import math", ["math.pi > 3.1 and len([1])"]).answers[0].equals(1)


def test_random_numbers_are_the_same_in_every_run(sandbox: Sandbox) -> None:
    outcomes = [sandbox.run("import random", ["random.random()", "hash('a')"]).answers for _ in range(3)]
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_many_threads_share_it(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: sandbox.run("def f(x): return x * x", [f"f({n})"]).answers[0].value, range(60))
        )
    assert answers == [n * n for n in range(60)]


def test_a_dead_worker_is_retried_and_never_a_score(sandbox: Sandbox) -> None:
    before = sandbox.restarts

    def kill_workers() -> None:
        for worker in list(sandbox._all):
            os.killpg(worker.process.pid, signal.SIGKILL)

    timer = threading.Timer(0.2, kill_workers)
    timer.start()
    outcome = sandbox.run("import time\ndef f(): time.sleep(0.6); return 7", ["f()"])
    timer.join()
    assert outcome.answers[0].equals(7)
    assert sandbox.restarts > before


def test_an_interrupted_program_leaves_no_answer_to_the_next(
    own: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own.run("", ["1"])

    def interrupted(_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sandbox.native.receive_ending", interrupted)  # the worker has answered, and nobody has read it
        with pytest.raises(KeyboardInterrupt):
            own.run("", ["'A'"])
    assert own.run("", ["'B'"]).answers[0].equals("B")
    assert own.run("", ["'C'"]).answers[0].equals("C")
    assert "died" not in caplog.text  # its worker was replaced at once, not found out of step


def test_a_program_that_crashes_after_each_sleep_has_one_time_for_all(sandbox: Sandbox) -> None:
    begun = time.monotonic()
    limits = Limits(cpu_seconds=0.1, idle_seconds=0.3)
    outcome = sandbox.run("import time, os\ndef f():\n    time.sleep(0.2)\n    os._exit(1)", ["f()"] * 100, limits)
    assert not any(a.equals(None) for a in outcome.answers)
    assert time.monotonic() - begun < 15


def test_workers_hash_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = set()
    for _ in range(2):
        with open_sandbox(Settings(), "auto", 1) as sandbox:
            orders.add(sandbox.run("", ["list({'banana', 'date', 'cherry', 'apple'})"]).answers[0].value[0])
    assert len(orders) == 1


def test_what_an_interpreter_has(sandbox: Sandbox) -> None:
    assert sandbox.run("\ufeffx = 1", ["x"]).answers[0].equals(1)
    assert sandbox.run("def f():\n    exit(3)", ["f()"]).answers[0].error == "SystemExit"
    raised = sandbox.run("def f(): raise ValueError('a', 2)", ["f()"]).answers[0]
    assert (raised.message, raised.line, raised.arguments) == ("('a', 2)", 1, ["a", 2])


LIBRARIES = {
    "import hashlib": ("hashlib.sha256(b'a').hexdigest()[:6]", "ca9781"),
    "import zlib": ("zlib.decompress(zlib.compress(b'a'))", b"a"),
    "import bz2": ("bz2.decompress(bz2.compress(b'a'))", b"a"),
    "import lzma": ("lzma.decompress(lzma.compress(b'a'))", b"a"),
    "import sqlite3": ("sqlite3.connect(':memory:').execute('select 1 + 1').fetchone()", (2,)),
    "import xml.etree.ElementTree as tree": ("tree.fromstring('<a b=\"1\"/>').attrib", {"b": "1"}),
    "import uuid": ("len(str(uuid.uuid4()))", 36),
    "import unicodedata": ("unicodedata.name('a')", "LATIN SMALL LETTER A"),
}


@pytest.mark.parametrize("line", LIBRARIES)
def test_parts_of_the_library_that_are_read_late(line: str, sandbox: Sandbox) -> None:
    if sandbox.kind == "wasm" and line in ("import bz2", "import lzma"):
        pytest.skip("Python in WebAssembly is built without it")
    call, expected = LIBRARIES[line]
    assert sandbox.run(line, [call]).answers[0].equals(expected)


def test_whole_numbers_and_others_come_back_as_they_are(sandbox: Sandbox) -> None:
    code = "import enum\nclass E(enum.IntEnum):\n    A = 3\nclass F(float): pass"
    calls = ["2**63", "-2**63", "2**64 - 1", "10**30", "E.A", "F(1.5)", "1e308 * 10", "-1e-320", "0.1 + 0.2", "True"]
    values = [answer.value for answer in sandbox.run(code, calls).answers]
    expected = [2**63, -(2**63), 2**64 - 1, 10**30, 3, 1.5, float("inf"), -1e-320, 0.1 + 0.2, True]
    assert values == expected
    assert [type(v) for v in values] == [type(e) for e in expected]


@pytest.mark.skipif(not has_native(), reason="needs Linux with Landlock")
def test_bubblewrap_shows_no_package_that_is_installed() -> None:
    library, site = os.path.dirname(os.__file__), Path(pytest.__file__).parent
    code = f"""
import os
def seen(name):
    return os.listdir(os.path.join({library!r}, name))
"""
    with open_sandbox(Settings(), "bubblewrap", 1) as sandbox:
        beside = [name for name in os.listdir(library) if name.endswith("-packages")]
        answers = sandbox.run(code, [f"os.path.exists({str(site)!r})", *[f"seen({name!r})" for name in beside]]).answers
    assert answers[0].equals(False)
    assert [answer.error for answer in answers[1:]] == ["PermissionError"] * len(beside)


@pytest.fixture
def own() -> Any:
    with open_sandbox(Settings(), "auto", 1) as sandbox:
        yield sandbox


def test_closed_while_a_program_runs(own: Sandbox) -> None:
    """The thread that waits for it ends at once, and does not spin on a closed socket."""
    own.run("", ["1"])
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(own.run, "import time\ndef f(): time.sleep(1.5)", ["f()"])
        time.sleep(0.3)
        begun = time.monotonic()
        own.close()
        with pytest.raises(SandboxFailed, match="closed"):
            running.result()
    assert time.monotonic() - begun < 1
    with pytest.raises(SandboxFailed, match="closed"):
        own.run("", ["1"])


FORKED = """
import os, sys
from sandbox.choose import shared_sandbox
from sandbox.outcome import SandboxFailed
from settings import Settings
box = shared_sandbox(Settings())
assert box.run("", ["1"]).answers[0].equals(1)
if (pid := os.fork()) == 0:
    try: box.run("", ["2"])
    except SandboxFailed as error: assert "another process" in str(error)
    else: os._exit(3)
    sys.exit(0)  # runs what was registered to be done at the end
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert box.run("", ["3"]).answers[0].equals(3)
assert box.restarts == 0
"""
CLOSED = """
import os
for number in {numbers}: os.close(number)
from sandbox.choose import open_sandbox
from settings import Settings
with open_sandbox(Settings(), "auto", 1) as box: os._exit(0 if box.run("", ["1"]).answers[0].equals(1) else 3)
"""


@pytest.mark.parametrize("script", [FORKED, *(CLOSED.format(numbers=n) for n in ((0,), (0, 1), (0, 1, 2)))])
def test_a_parent_that_forks_or_has_no_standard_files(script: str) -> None:
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=120).returncode == 0


def test_workers_that_die_again_and_again_are_an_error(own: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: Any) -> Any:
        raise WorkerDied("gone")

    monkeypatch.setattr(Worker, "run", dies)
    with pytest.raises(SandboxFailed, match="no verdict"):
        own.run("", ["1"])


@pytest.mark.skipif(not has_native(), reason="needs Linux with Landlock")
def test_auto_says_what_it_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING), open_sandbox(Settings(), "auto", 1) as sandbox:
        report = sandbox.report()
    assert report["backend"] == "landlock"
    assert "not installed" in report["passed_over"]["bubblewrap"]
    assert "bubblewrap is not in force" in caplog.text


def test_a_named_back_end_is_never_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="bubblewrap is not installed"):
        choose_sandbox(Settings(), "bubblewrap")
    with pytest.raises(SandboxUnavailable, match="no sandbox 'chroot'"):
        choose_sandbox(Settings(), "chroot")


@pytest.mark.usefixtures("built")
def test_a_damaged_component_is_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    good = wasm.build_component(Settings().folder / "sandbox")
    content = good.read_bytes()
    built = []

    def build(folder: Path, fingerprint: str) -> Path:
        built.append(fingerprint)
        good.write_bytes(content)
        return good

    monkeypatch.setattr(wasm, "_build", build)
    assert wasm.build_component(Settings().folder / "sandbox") == good
    assert not built
    good.write_bytes(content[:-1] + b"?")
    assert wasm.build_component(Settings().folder / "sandbox") == good
    assert len(built) == 1
    good.parent.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match="chmod 700"):
        choose_sandbox(Settings(), "wasm", 1)
    good.parent.chmod(0o700)


@pytest.mark.usefixtures("built")
def test_calls_of_the_host_cost_a_program_too() -> None:
    code = "import wit_world\ndef f():\n    while True: wit_world.emit('')"
    with open_sandbox(Settings(), "wasm", 1) as sandbox:
        begun = time.monotonic()
        assert sandbox.run(code, ["f()"], Limits(cpu_seconds=0.2)).exit_reason == "cpu"
        assert time.monotonic() - begun < 4  # it was 40 times its limit


@pytest.mark.parametrize(
    ("field", "value"), [("cpu_seconds", 0), ("cpu_seconds", 1e9), ("memory_mb", 1), ("idle_seconds", -1)]
)
def test_limits_name_the_field_that_cannot_work(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"Limits.{field}="):
        Limits(**{field: value})  # type: ignore[arg-type]


def test_run_python_is_one_call() -> None:
    outcome = run_python("def double(x): return 2 * x", ["double(4)", "double('a')"])
    assert [a.value for a in outcome.answers] == [8, "aa"]


def test_verdicts_under_load_are_those_of_an_idle_machine(sandbox: Sandbox) -> None:
    """Random programs, some slow and some endless, alone and beside eight busy threads of programs."""
    draw = random.Random(5)
    programs = [
        f"def f(x):\n    for i in range({draw.choice([10, 1000, 10**9])}): x += i\n    return x" for _ in range(20)
    ]
    verdicts: Callable[[str], Any] = lambda code: sandbox.run(code, ["f(1)", "f(2)"], Limits(cpu_seconds=0.2))  # noqa: E731
    alone = [verdicts(code) for code in programs]
    with ThreadPoolExecutor(8) as pool, open_sandbox(Settings(), "auto", 6) as other:
        noise = [pool.submit(other.run, "while True: pass", [], Limits(cpu_seconds=1)) for _ in range(6)]
        loaded = list(pool.map(verdicts, programs))
        assert all(n.result().exit_reason == "cpu" for n in noise)
    assert loaded == alone


_kept: list[Sandbox] = []


def _sandbox() -> Sandbox:
    """One for all examples of a property."""
    if not _kept:
        _kept.append(choose_sandbox(Settings(), "auto", 1))
    return _kept[0]


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Any:
    yield
    for sandbox in _kept:
        sandbox.close()
