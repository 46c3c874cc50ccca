"""What came of a run of the page "Refine": its answer, every version with its score, the steps, and a pause to step in."""

import json
from typing import Any

import streamlit as st
from langchain_core.messages import AIMessage, ToolMessage

from ui.diff_picture import diff_html
from ui.permission import show_question
from ui.refine_form import MethodContext, Solver, answer, go_on
from ui.run_status import show_failure
from ui.safe_text import escaped, one_line, show_written
from ui.session import Session

STEPS = {
    "draft": "Writing a draft", "critique": "Criticising", "revise": "Revising", "recall_lessons": "Looking for lessons",
    "attempt": "Trying", "evaluate": "Checking", "reflect": "Learning from it",
    "begin": "Beginning", "think": "Thinking", "permit": "Looking what is allowed", "ask": "Asking you", "act": "Calling tools",
}  # fmt: skip
ENDINGS = {
    "accepted": ("success", "Good enough: its critic has accepted it."),
    "solved": ("success", "Solved."),
    "answered": ("success", "Answered."),
    "budget": ("warning", "The budget is spent; this is the best of it. Raise the budget, or say more in the task."),
    "step_limit": ("warning", "It ran out of steps. Raise their number, or ask more narrowly."),
    "time_limit": ("warning", "It ran out of time. Raise the limit, or ask more narrowly."),
    "loop": ("warning", "It was stopped: it made the same calls over and over."),
    "error": ("error", "Its tools failed, three times in a row."),
}


def show_run(
    session: Session, method: Solver, state: dict[str, Any], waits: str, context: MethodContext | None
) -> None:
    """Draw what there is of the run: its end or its pause, its answer, and how it came to it."""
    show_failure("refine_failure")
    if not state:
        st.caption(
            "Nothing has been tried yet. Write a task and press Start; every draft, score and lesson stays here."
        )
        return
    if waits and (question := session.runtime.question(method, st.session_state.refine_run)):
        show_question(question["calls"], answer)
    elif waits:
        _show_pause(session, method, state, waits, context)
    elif state.get("stop"):
        kind, message = ENDINGS[state["stop"]]
        getattr(st, kind)(message + (f" {escaped(state['error'])}" if state.get("error") else ""))
    if state.get("answer") and not waits:
        with st.container(border=True):
            st.caption("Answer" + (f" · score {state['score']:.2f}" if "score" in state else ""))
            _show_text(state["answer"])
    if method == "react":
        _show_steps(state)
    else:
        _show_versions(method, state)


def _show_text(text: str) -> None:
    """Text of a model; a bare program as code."""
    if text.lstrip().startswith(("def ", "import ", "from ", "class ")):
        st.code(text, language="python", wrap_lines=True)
    else:
        show_written(text[:20_000])


def _show_versions(method: Solver, state: dict[str, Any]) -> None:
    """Scores as a line, two versions as a diff, and each version foldable."""
    refine = method == "self_refine"
    word = "Draft" if refine else "Trial"
    if not refine and state.get("recalled"):
        st.caption("Lessons from earlier tasks, in view from the first trial on")
        _show_cards([(lesson["text"], lesson["task"]) for lesson in state["recalled"]])
    versions = state.get("drafts" if refine else "trials", [])
    scored = [v for v in versions if (v["score"] >= 0 if refine else v["outcome"])]
    if len(scored) > 1:
        st.line_chart(
            {word: [v["number"] for v in scored], "Score": [v["score"] for v in scored]}, x=word, y="Score", height=180
        )
    if len(versions) > 1:
        texts = {v["number"]: v["text" if refine else "answer"] for v in versions}
        chosen: list[int] = []
        for column, (label, key) in zip(
            st.columns(2), (("Compare", "refine_left"), ("with", "refine_right")), strict=True
        ):
            at = len(texts) - 2 + len(chosen)
            chosen.append(column.selectbox(label, list(texts), at, format_func=lambda n: f"{word} {n}", key=key))
        st.html(diff_html(*(texts[n] for n in chosen), *(f"{word} {n}" for n in chosen)))
    for version in versions:
        _show_version(version, word, refine)


def _show_version(version: dict[str, Any], word: str, refine: bool) -> None:
    is_scored = version["score"] >= 0 if refine else version["outcome"]
    unread = "its verdict could not be read"
    said = (
        f"score {version['score']:.2f}" + ("" if refine else f", {version['outcome']}")
        if is_scored
        else unread
        if refine and version["critique"]
        else "not checked yet"
    )
    with st.expander(f"{word} {version['number']} · {said}"):
        _show_text(version["text" if refine else "answer"] or "(no answer)")
        if steps := version.get("trajectory"):
            st.caption("How it came to it")
            st.code(steps, language=None, wrap_lines=True)
        if criticism := version["critique" if refine else "feedback"]:
            st.caption("Critique" if refine else "What came of it")
            st.code(criticism, language=None, wrap_lines=True)
        if not refine and version["lesson"]:
            st.caption("Lesson")
            _show_cards([(version["lesson"], "")])


def _show_steps(state: dict[str, Any]) -> None:
    results = {m.id: m for m in state.get("messages", []) if isinstance(m, ToolMessage)}
    number = 0
    for message in state.get("messages", []):
        if not isinstance(message, AIMessage):
            continue
        number += 1
        with st.expander(
            f"Step {number} · {one_line(message.text or ', '.join(c['name'] for c in message.tool_calls), 70)}"
        ):
            if message.text:
                show_written(message.text)
            for call in message.tool_calls:
                st.code(
                    f"{call['name']}({json.dumps(call['args'], ensure_ascii=False)})"[:4_000],
                    language=None,
                    wrap_lines=True,
                )
                if result := results.get(f"{message.id}:{call['id']}"):
                    st.caption("Observation" if result.status == "success" else "It failed")
                    st.code(result.text, language=None, wrap_lines=True)


def _show_pause(
    session: Session, method: Solver, state: dict[str, Any], waits: str, context: MethodContext | None
) -> None:
    """A paused run: what was written last can be edited before it goes on."""
    run, field = st.session_state.refine_run, {"self_refine": "drafts", "reflexion": "trials"}.get(method, "")
    versions = state.get(field, [])
    st.info(f"It waits. Next: {STEPS.get(waits, waits).lower()}.", icon=":material/pause_circle:")
    if not versions:
        st.button("Go on", type="primary", icon=":material/play_arrow:", on_click=go_on, disabled=context is None)
        return
    last, edited = versions[-1], {}
    names = {"text": "Draft", "critique": "Critique", "answer": "Attempt", "lesson": "Lesson"}
    with st.form("refine_edit"):
        for name in ("text", "critique") if method == "self_refine" else ("answer", "lesson"):
            if last[name]:
                edited[name] = st.text_area(
                    f"{names[name]} {last['number']}",
                    last[name],
                    key=f"{run}-{name}-{last['number']}-{waits}",
                    height=150,
                )
        if st.form_submit_button("Go on", type="primary", icon=":material/play_arrow:", disabled=context is None):
            if any(edited[name] != last[name] for name in edited):
                session.runtime.edit(method, run, {field: [*versions[:-1], {**last, **edited}]})
            go_on()
            st.rerun()


def _show_cards(lessons: list[tuple[str, str]]) -> None:
    for text, task in lessons:
        with st.container(border=True):
            st.markdown(f":material/lightbulb: {escaped(text)}")
            if task:
                st.caption(f"learnt from: {one_line(task, 120)}")
