"""Choosing what to work on together: a ready task, or a wish of one's own, with or without a hidden reference."""

import random
from typing import Any

import streamlit as st

from settings import Settings
from tasks.colbench import BadTask, Task, task_of
from tasks.lookup import find_task, store_tasks
from ui.choice import choose
from ui.safe_text import escaped, show_typed

KINDS = {"backend": "A Python function", "frontend": "A web page"}
SOURCES = {"ready": "A ready task", "own": "A wish of my own"}
OWN_DIFFICULTY = {"backend": 3, "frontend": 4}
SIGNATURE = "The signature of the function is:"


def choose_task(settings: Settings) -> dict[str, Any] | None:
    """The run's input, as the machine takes it; None, with the reason shown, while it cannot work."""
    left, right = st.columns(2)
    with left:
        kind = choose("What", KINDS, "collab_kind")
    with right:
        source = choose("Which", SOURCES, "collab_source")
    return _ready(kind, settings) if source == "ready" else _own(kind, settings)


def _ready(kind: str, settings: Settings) -> dict[str, Any]:
    st.session_state.setdefault("collab_seed", 1)
    hidden, number, another = st.columns([2, 2, 1], vertical_alignment="bottom")
    difficulty = hidden.slider(
        "Decisions that the description leaves open", 1, 5, OWN_DIFFICULTY[kind], key=f"collab_difficulty_{kind}"
    )
    seed = number.number_input("Number of the task", 0, 999_999, key="collab_seed")
    another.button("Another", icon=":material/casino:", width="stretch", on_click=_draw)
    task_id = f"own-{kind}/train/{difficulty}/{seed}"
    with st.container(border=True):
        show_typed(find_task(task_id, settings).description)
    return {"task": task_id}


def _draw() -> None:
    st.session_state.collab_seed = random.randrange(1_000_000)  # noqa: S311 (any task will do)


def _own(kind: str, settings: Settings) -> dict[str, Any] | None:
    wish = st.text_area(
        "What do you want?", key="collab_wish", height=90, max_chars=8_000,
        placeholder="I need a function that …" if kind == "backend" else "A website for …",
    )  # fmt: skip
    with st.expander(
        "A hidden reference, to be scored against (the agent never sees it)", icon=":material/visibility_off:"
    ):
        if kind == "backend":
            reference = st.text_area(
                "The right function", key="collab_truth", height=160, placeholder="def f(x):\n    return 2 * x"
            )
            calls = st.text_area(
                "Calls to test it with, one in each line", key="collab_calls", height=100, placeholder="f(1)\nf(-3)"
            )
        else:
            reference = st.text_area(
                "The page as you want it, HTML", key="collab_page", height=160, placeholder="<html>…</html>"
            )
            calls = ""
        st.caption("Leave it empty to work without a score.")
    if not wish.strip():
        st.caption("Say what you want, and press Start.")
        return None
    if not reference.strip():
        return {"task": "", "wish": wish, "kind": kind}
    try:
        return {"task": store_tasks([_task(kind, wish, reference, calls)], "mine", settings)[0]}
    except BadTask as error:
        st.warning(escaped(f"The reference cannot be used yet: {error}"), icon=":material/edit:")
        return None


def _task(kind: str, wish: str, reference: str, calls: str) -> Task:
    row: dict[str, Any] = {"problem_description": wish.strip(), "ground_truth": reference}
    if kind == "backend":
        lines = [line.strip() for line in calls.splitlines() if line.strip()]
        if not lines:
            raise BadTask("write at least one call to test the function with.")
        row["test_cases"] = {f"test{n}": line for n, line in enumerate(lines, start=1)}
    return task_of(row, "mine")
