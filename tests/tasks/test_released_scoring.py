"""The released scorer's verdicts, by the rules of its source: each row has an answer, what it earns, and why."""

from collections.abc import Iterator

import pytest

from sandbox.choose import open_sandbox
from sandbox.python import Sandbox
from settings import Settings
from tasks.colbench import Task
from tasks.released_scoring import released_program, score_as_released

TASK = Task("t", "backend", "d", "def f(x):\n    return None if x == 9 else x * 2", ("f(1)", "f(2)", "f(9)", "f(0)"))
RIGHT = "def f(x):\n    return x * 2"
HALF = 0.75  # the truth's None is never passed
TABLE: list[tuple[str, float, str]] = [
    (RIGHT, HALF, "text without a fence is executed as it is"),
    (f"```python\n{RIGHT}\n```", HALF, "the first python block counts"),
    (f"```\n{RIGHT}\n```", HALF, "else the first block"),
    (f"```py\n{RIGHT}\n```", 0, "a tag other than python stays in the text, and is a name that is not defined"),
    (f"```Python\n{RIGHT}\n```", 0, "the tag is compared with its case"),
    (f"```python3\n{RIGHT}\n```", HALF, "the 3 stays in the text: a line of its own, and f is defined"),
    (f"Here it is:\n{RIGHT}", 0, "prose is executed, and is no Python"),
    (f"{RIGHT}\nEnjoy it!", 0, "prose behind it too"),
    (f"Text\n```python\n{RIGHT}\n```\nmore", HALF, "prose round a fence is left out"),
    (f"```python\n{RIGHT}\n```\n```python\ndef f(x): return 0\n```", HALF, "the second block is not looked at"),
    (f"```python\ndef f(x): return 0\n```\n```python\n{RIGHT}\n```", 0.25, "even where it is the better one"),
    (f"```\nnothing here\n```\n```python\n{RIGHT}\n```", HALF, "a python block goes before an untagged one"),
    (f"```python\n{RIGHT}", HALF, "of an open fence the rest counts"),
    ("import math\n" + RIGHT, HALF, "an import that is not used does no harm"),
    ("import math\ndef f(x):\n    return int(math.floor(x * 2))", 0, "an import at the top is not seen in the function"),
    ("def f(x):\n    import math\n    return int(math.floor(x * 2))", HALF, "one inside the function is"),
    ("def g(x):\n    return x * 2\ndef f(x):\n    return g(x)", 0, "a helper is not found"),
    ("def f(x):\n    def g(y):\n        return y * 2\n    return g(x)", HALF, "a helper inside is"),
    ("def f(x):\n    return 0 if x == 0 else 2 + f(x - 1)", 0.25, "recursion is not found; the case that needs none passes"),
    ("TWO = 2\ndef f(x):\n    return x * TWO", 0, "a constant of the module is not found"),
    ("TWO = 2\ndef f(x, two=TWO):\n    return x * two", HALF, "a default is evaluated where the constant is"),
    ("f = lambda x: x * 2", HALF, "a lambda is a function"),
    ("class A:\n    def f(self, x): return x * 2\nf = A().f", HALF, "a method needs no name of the module"),
    ("class A:\n    def g(self, x): return x * 2\ndef f(x):\n    return A().g(x)", 0, "a class is not found in the function"),
    ("import os\n" + RIGHT, 0, "import os is on the list"),
    ("import sys\n" + RIGHT, 0, "import sys is on the list"),
    ("from os import path\n" + RIGHT, 0, "from os is on the list"),
    ("from sys import path\n" + RIGHT, 0, "from sys is on the list"),
    ("import ostrich_is_no_module", 0, "by its letters: import os…"),
    ("# sudo is a word\n" + RIGHT, 0, "a word in a comment is enough"),
    ("# transformers\n" + RIGHT, 0, "transformers is on the list"),
    ("# the exit(door)\n" + RIGHT, 0, "exit( is on the list"),
    ("# never quit(it)\n" + RIGHT, 0, "quit( is on the list"),
    ("# argparse\n" + RIGHT, 0, "argparse is on the list"),
    (f"sudo is mentioned before\n```python\n{RIGHT}\n```", 0, "the list is looked for before the fence is stripped"),
    ("__import__('o' + 's')\n" + RIGHT, HALF, "the list is easily passed; the sandbox is what holds"),
    ("print('hello')\n" + RIGHT, HALF, "printing is allowed"),
    ("def f(x):\n    return float(x * 2)", HALF, "2.0 == 2"),
    ("def f(x):\n    return str(x * 2)", 0, "'2' is not 2"),
    ("def f(x):\n    return None", 0, "None is never right, not even where the truth gives it"),
    ("def f(x):\n    return x == 1 and 2", 0.5, "False == 0 passes"),
    ("def f(x):\n    raise ValueError", 0, "an exception is None"),
    ("def f(x):\n    if x == 2:\n        raise ValueError\n    return x * 2", 0.5, "and costs its own test only"),
    ("def f(x):\n    while x == 2: pass\n    return x * 2", 0.5, "a loop is stopped after a second, and costs its own test only"),
    ("count = 0\ndef f(x):\n    return x * 2 if not globals().get('seen') else 0", HALF, "each test executes the program anew"),
    ("def g(x):\n    return x * 2", 0, "the function must have the name"),
    ("", 0, "nothing"),
    ("No answer", 0, "the text for no answer is no Python"),
    ("x = (", 0, "a syntax error"),
    ("class E:\n    def __eq__(self, o): return True\ndef f(x, E=E):\n    return E()", 0, "not reproduced: an object equal to everything"),
]  # fmt: skip


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(Settings(), "auto", 1) as opened:
        yield opened


@pytest.mark.parametrize(("answer", "score", "why"), TABLE, ids=[str(n) for n in range(len(TABLE))])
def test_the_rules(sandbox: Sandbox, answer: str, score: float, why: str) -> None:
    assert score_as_released(sandbox, TASK, answer).score == score, why


def test_nan_is_never_equal(sandbox: Sandbox) -> None:
    task = Task("n", "backend", "d", "def f(x):\n    return float('nan')", ("f(1)",))
    assert score_as_released(sandbox, task, task.ground_truth).score == 0


def test_the_block_that_counts() -> None:
    assert released_program("a\n```x = 1```\n```python y = 2```").strip() == "y = 2"
    assert len(TABLE) >= 40
