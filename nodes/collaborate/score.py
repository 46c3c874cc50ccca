"""score: hidden tests or the hidden page judge the answer; the run becomes a trajectory row."""

import os
from functools import lru_cache

from langgraph.runtime import Runtime

from nodes.collaborate.state import Context, State
from sandbox.html import Page, render_html
from sandbox.python import shared_sandbox
from tasks.backend_score import BackendScore, BackendScorer, TruthFailed
from tasks.book import find_task
from tasks.clip import clip_cosine
from tasks.colbench import Task
from tasks.person import told_facts
from tasks.released_scoring import score_as_released
from tasks.similarity import similarity
from tasks.trajectory import Trajectory, trajectory_of

SUCCESS_AT = 0.99
"""Similarity from which a page counts as the one that was wanted: on our own pages, another label of the button is below it."""


def score(state: State, runtime: Runtime[Context]) -> State:
    """The score, and the finished trajectory. Raises TruthFailed, SandboxFailed, RenderUnavailable, CdnMissing and
    ClipUnavailable.
    """
    context = runtime.context
    scored: State = {}
    if state["task"]:
        task = find_task(state["task"])
        scored = _page(task, state["answer"]) if task.kind == "frontend" else _program(task, state["answer"], context)
        scored["told"] = told_facts(task, [t["content"] for t in state["turns"] if t["role"] == "person"])
    whole: State = {**state, **scored}
    return {**scored, "trajectory": _row(whole, context).to_row()}


def _program(task: Task, answer: str, context: Context) -> State:
    if context.scoring == "released":
        result = score_as_released(shared_sandbox(), task, answer)
    else:
        result = score_program(task, answer, context.tolerance)
    return {
        "score": result.score, "success": result.success, "failure": result.failure, "message": result.message,
        "passed": list(result.passed),
    }  # fmt: skip


def score_program(task: Task, answer: str, tolerance: float = 0.0) -> BackendScore:
    """The hidden tests' verdict on a program. Raises TruthFailed, SandboxFailed and SandboxUnavailable."""
    return _scorer(tolerance, os.getpid()).score(task, answer)


def _page(task: Task, answer: str) -> State:
    if not answer:
        return {"score": 0.0, "success": False, "failure": "no_answer", "message": "There is no page."}
    page, reference = render_html(answer), _reference(task, os.getpid())
    alike, cosine = similarity(page, reference), clip_cosine(page, reference)
    parts = {"blocks": alike.blocks, "colours": alike.colours, "structure": alike.structure}
    failure = {"done": "", "time": "time", "crash": "crash", "too_long": "crash"}[page.why]
    return {
        "score": alike.score,
        "success": alike.score >= SUCCESS_AT,
        "failure": failure or ("" if alike.score >= SUCCESS_AT else "wrong"),
        "message": page.message,
        "parts": parts if cosine is None else {**parts, "clip": cosine},
    }


@lru_cache(maxsize=8)
def _scorer(tolerance: float, process: int) -> BackendScorer:
    return BackendScorer(shared_sandbox(), tolerance)


def check_reference(task: Task) -> None:
    """Raise TruthFailed if nothing can be scored against the task's reference."""
    if task.kind == "frontend":
        _reference(task, os.getpid())
    else:
        _scorer(0.0, os.getpid()).truth(task)


@lru_cache(maxsize=64)
def _reference(task: Task, process: int) -> Page:
    page = render_html(task.ground_truth)
    if page.why == "time":  # a busy machine
        page = render_html(task.ground_truth)
    if page.why != "done":
        raise TruthFailed(task, page.message)
    return page


def _row(state: State, context: Context) -> Trajectory:
    names = {
        name: model if isinstance(model, str) else model._llm_type
        for name, model in (("agent", context.model), ("person", context.person_model or context.model))
    }
    return trajectory_of(
        {
            "task": state["task"], "kind": state["kind"], "description": state["description"], "turns": state["turns"],
            "answer": state["answer"], "score": state["score"], "success": state["success"], "stop": state["stop"],
            "failure": state["failure"], "told": state["told"],
            "examples": state["examples"], "max_turns": context.max_turns, "agent": names["agent"],
            "person": names["person"] if context.person in ("model", "vision") else context.person, "seed": context.seed,
            "input_tokens": state["input_tokens"], "output_tokens": state["output_tokens"],
        }
    )  # fmt: skip
