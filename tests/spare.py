"""A process that has imported the runtime, and forks one that runs a text of Python: to be killed, without a start of seconds each.

Run as `python -m tests.spare`; each line of its input is `(code, arguments, environment, file for what is printed)`.
"""

import ast
import os
import sys
import traceback
from pathlib import Path
from subprocess import PIPE, Popen
from time import monotonic, sleep

import runtime  # noqa: F401 (what a child would import first)

ROOT = Path(__file__).parent.parent


class Spare:
    """The process, for tests."""

    def __init__(self) -> None:
        environment = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.spare"]
        self._process = Popen(command, cwd=ROOT, env=environment, text=True, stdin=PIPE, stdout=PIPE)

    def start(self, code: str, *arguments: str, out: Path, **environment: str) -> int:
        """Begin to run a text; its process's id. The one before must have ended."""
        assert self._process.stdin
        assert self._process.stdout
        print(repr((code, arguments, environment, str(out))), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def status(self) -> int:
        """How the process ended, once it has: its exit code, or minus the signal that killed it."""
        assert self._process.stdout
        return os.waitstatus_to_exitcode(int(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def wait_for(text: str, file: Path, seconds: float = 60) -> None:
    """Until a file has the text. Raises TimeoutError with what it has."""
    until = monotonic() + seconds
    while not (file.exists() and text in file.read_text()):
        if monotonic() > until:
            raise TimeoutError(file.read_text() if file.exists() else f"no {file}")
        sleep(0.02)


def main() -> None:
    """Fork for each line, one at a time: print the child's id, and when it has ended its status."""
    for line in sys.stdin:
        code, arguments, environment, out = ast.literal_eval(line)
        child = os.fork()
        if not child:
            os.environ.update(environment)
            sys.argv = ["-c", *arguments]
            shown = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(shown, 1)
            os.dup2(shown, 2)
            try:
                exec(compile(code, "<child>", "exec"), {"__name__": "__main__"})
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
