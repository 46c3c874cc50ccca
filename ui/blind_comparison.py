"""Two agents work on one task with the same simulated person, side by side and without names; a person says which did better."""

import random
from typing import Any

import streamlit as st

from graphs import collaborate
from models.endpoint import OFFLINE
from tasks.kept import KeptData
from tasks.lookup import find_task
from tasks.trajectory import trajectory_of
from ui.artefact import show_artefact
from ui.consent import ask_consent, show_kept
from ui.run_status import new_run
from ui.safe_text import escaped, show_typed, show_written
from ui.session import Session, model_names
from ui.task_choice import choose_task

SIDES = ("A", "B")


def show_comparison(session: Session) -> None:
    """Draw the view."""
    st.caption(
        "Two agents work on the same task with the same simulated person. You see what they did as A and B, and say which is "
        "better; the names come afterwards."
    )
    st.session_state.setdefault("blind", {})
    if st.session_state.blind:
        _show_sides(session, st.session_state.blind)
        return
    task = choose_task(session.runtime.settings)
    names = [name for name in model_names() if name != OFFLINE]
    left, right = st.columns(2)
    one = left.selectbox("One agent", names, key="blind_one", help="A model at your endpoint.")
    other = right.selectbox("The other", names, index=min(1, len(names) - 1) if names else None, key="blind_other")
    if one and one == other:
        st.caption("Both are the same model: fine for trying it out, but the choice will teach nothing about models.")
    if task is not None and not task["task"]:
        st.caption("A comparison needs a task with a reference, since a simulated person answers.")
    ready = bool(names) and task is not None and bool(task["task"])
    if (
        st.button("Let both work", type="primary", icon=":material/play_arrow:", disabled=not ready)
        and task is not None
    ):
        _run(session, str(task["task"]), str(one), str(other))


def _run(session: Session, task: str, one: str, other: str) -> None:
    models = [one, other]
    random.shuffle(models)
    run = new_run()
    bar = st.progress(0.0, "Agent A works…")
    try:
        for n, model in enumerate(models):
            bar.progress(n / 2, f"Agent {SIDES[n]} works…")
            facts = find_task(task, session.runtime.settings).facts
            context = collaborate.Context(
                agent=session.context.agent, model=model, person="rules" if facts else "model", person_model=one
            )
            session.runtime.run("collaborate", f"{run}-{SIDES[n]}", task, context)
    except (ValueError, RuntimeError) as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    st.session_state.blind = {"run": run, "models": models, "choice": ""}
    st.rerun()


def _show_sides(session: Session, blind: dict[str, Any]) -> None:
    states = [session.runtime.state("collaborate", f"{blind['run']}-{side}") for side in SIDES]
    show_typed(states[0]["description"])
    for n, column in enumerate(st.columns(2, gap="large")):
        with column, st.container(border=True):
            named = f": {escaped(blind['models'][n])}, score {states[n]['score']:.2f}" if blind["choice"] else ""
            st.markdown(f"**Agent {SIDES[n]}**{named}")
            with st.expander(f"Its dialogue, {len(states[n]['turns'])} turns"):
                for turn in states[n]["turns"]:
                    st.caption("Agent" if turn["role"] == "agent" else "Person")
                    show_written(turn["content"][:2_000])
            show_artefact(session, states[n], f"blind-{SIDES[n]}")
    if not blind["choice"]:
        st.markdown("**Which did better?**")
        for side, column in zip((*SIDES, "neither"), st.columns(3), strict=True):
            column.button(
                side if side == "neither" else f"Agent {side}",
                key=f"blind-choice-{side}",
                width="stretch",
                on_click=_choose,
                args=(side,),
            )
        return
    _keep(session, blind, states)
    st.button("Another comparison", icon=":material/restart_alt:", on_click=lambda: st.session_state.update(blind={}))


def _choose(side: str) -> None:
    st.session_state.blind = {**st.session_state.blind, "choice": side}


def _keep(session: Session, blind: dict[str, Any], states: list[dict[str, Any]]) -> None:
    """Keep the choice as a training pair, once, if the person agrees."""
    if blind["choice"] == "neither":
        st.caption("No preference: nothing to keep.")
        return
    kept = KeptData(session.runtime.settings)
    if ask_consent(kept) and not blind.get("kept"):
        better = SIDES.index(blind["choice"])
        chosen, rejected = (
            trajectory_of({**states[n]["trajectory"], "agent": blind["models"][n]}) for n in (better, 1 - better)
        )
        kept.keep_preference(chosen, rejected)
        st.session_state.blind = {**blind, "kept": True}
    show_kept(kept, "a training pair")
