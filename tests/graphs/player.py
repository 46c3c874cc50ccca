"""Plays runs of the solvers in processes of their own, one a line of standard input, so that a test can kill them."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage

import memory.store
from graphs import react, reflexion, self_refine  # noqa: F401 (named in the lines)
from memory.lessons import Lessons
from models.scripted import PolicyModel, call
from runtime import open_runtime
from tests.conftest import WordEmbedder
from tests.graphs.test_solvers import RIGHT, TESTS, WRONG  # noqa: F401

setattr(memory.store, "open_embedder", lambda settings: WordEmbedder())  # noqa: B010


def react_policy(prompt: list[BaseMessage]) -> Any:
    n = sum(m.type == "ai" for m in prompt)
    return call("calculator", expression=f"{n} + 1") if n < 2 else "done"


def refine_policy(prompt: list[BaseMessage]) -> Any:
    text = "\n".join(m.text for m in prompt)
    if "attempt at the task below failed" in prompt[0].text:
        return "Add, do not subtract."
    if "got -1" not in text:
        return WRONG
    return WRONG + "\n# again" if "# again" not in text else RIGHT


def tools_policy(prompt: list[BaseMessage]) -> Any:
    if "attempt at the task below failed" in prompt[0].text:
        return "Use the calculator."
    if any(m.type == "ai" for m in prompt):
        return prompt[-1].text
    return call("calculator", expression="1 + 1" if "Use the calc" not in prompt[1].text else "1 + 2")


POLICIES: dict[str, Callable[[list[BaseMessage]], Any]] = {
    "react": react_policy, "refine": refine_policy, "tools": tools_policy,
}  # fmt: skip


def play(home: str, method: Any, made: str, policy: str, thread: str, kill_at: int, go_on: bool) -> str:
    """The run's final state, what it learnt, and how many steps this process saw; or its end by SIGKILL."""
    os.environ["PALIMPSEST_HOME"] = home
    context = eval(made)
    context.model = PolicyModel(policy=POLICIES[policy])
    with open_runtime() as runtime:
        seen = 0
        for part in runtime.stream(method, thread, None if go_on else "What is it?", context):
            if part["type"] == "updates":
                seen += 1
                if seen == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        state = runtime.state(method, thread)
        for name in ("seconds", "run", "recalled"):
            state.pop(name, None)
        for decided in state.get("decisions", []):
            del decided["call"]
        state["messages"] = [(m.type, m.text, getattr(m, "tool_calls", None)) for m in state.get("messages", [])]
        lessons = [(x.text, x.task, x.outcome) for x in Lessons(runtime.store, "ada").all()]
        return f"{(state, lessons)!r} STEPS {seen}"


def main() -> None:
    """Imported once; each play is forked while there is no thread yet."""
    for line in sys.stdin:
        out, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(told, play(*eval(line)).encode())
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(told)
        _, status = os.waitpid(pid, 0)
        print(repr((os.waitstatus_to_exitcode(status), os.read(out, 1 << 16).decode())), flush=True)
        os.close(out)


if __name__ == "__main__":
    main()
