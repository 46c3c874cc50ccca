"""refine: Reflexion works on the program before it counts, on the visible examples or on tests that the model writes.

The agent's own answer is the first trial; another takes its place only if it passes all of these tests.
"""

from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from nodes.collaborate.state import Context, State
from nodes.reflexion.state import Context as ReflexionContext

TRIALS = 3


class Refine(Protocol):
    """The node's signature."""

    def __call__(self, state: State, runtime: Runtime[Context]) -> State: ...


def refine_with(reflexion: Any) -> Refine:
    """The node, with the compiled Reflexion machine."""

    def refine(state: State, runtime: Runtime[Context]) -> State:
        context = runtime.context
        said = "\n".join(f"{'You' if t['role'] == 'agent' else 'Person'}: {t['content']}" for t in state["turns"])
        task = f"{state['description']}\n\nWhat was said about it, your answer at the end:\n{said}"
        inner = ReflexionContext(
            agent=context.agent, model=context.model, settings=context.settings, tests=state["examples"],
            evaluator="tests" if state["examples"] else "own_tests", first_attempt=state["answer"], max_trials=TRIALS,
            outside="what the person has said",
        )  # fmt: skip
        done = reflexion.invoke({"task": task}, RunnableConfig(recursion_limit=inner.supersteps), context=inner)
        return {"answer": done["answer"] if done["stop"] == "solved" else state["answer"]}

    return refine
