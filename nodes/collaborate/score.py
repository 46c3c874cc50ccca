"""score: hidden tests or the hidden page judge the answer; the run becomes a trajectory row."""

from langgraph.runtime import Runtime

from nodes.collaborate.state import Context, State
from nodes.replies import settings_of
from tasks.dialogue import said_by
from tasks.kinds import ENVIRONMENTS
from tasks.lookup import find_task
from tasks.person import told_facts
from tasks.trajectory import Trajectory


def score(state: State, runtime: Runtime[Context]) -> State:
    """The score, and the finished trajectory. Raises TruthFailed, SandboxFailed, RenderUnavailable, CdnMissing and
    ClipUnavailable.
    """
    context, settings = runtime.context, settings_of(runtime)
    scored: State = {}
    if state["task"]:
        task = find_task(state["task"], settings)
        found = ENVIRONMENTS[task.kind].score(task, state["answer"], context.scoring_of(settings))
        replies = said_by("person", state["turns"])
        scored = {
            "score": max(0.0, found.score - context.question_cost * len(replies)), "success": found.success,
            "failure": found.failure, "message": found.message, "parts": found.parts, "passed": list(found.passed),
            "told": told_facts(task, replies),
        }  # fmt: skip
    return {**scored, "trajectory": _trajectory({**state, **scored}, context).to_row()}


def _trajectory(state: State, context: Context) -> Trajectory:
    agent, person = (
        model if isinstance(model, str) else model._llm_type
        for model in (context.model, context.person_model or context.model)
    )
    kept = "task kind description answer score success stop failure examples input_tokens output_tokens".split()
    return Trajectory(
        **{name: state[name] for name in kept},  # type: ignore[literal-required]
        turns=tuple(state["turns"]),
        told=tuple(state["told"]),
        max_turns=context.max_turns,
        agent=agent,
        person=person if context.person in ("model", "vision") else context.person,
        seed=context.seed,
    )
