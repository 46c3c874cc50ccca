"""The page "Refine": one task, a method that improves its answer, and everything on the way: drafts, scores, lessons, steps."""

import json
import uuid
from contextlib import closing
from typing import Any, cast

import streamlit as st
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage

from graphs import react, reflexion, self_refine
from graphs.runtime import Method, SolverContext
from memory.lessons import Lessons
from models.endpoint import OFFLINE
from models.reply import ModelFailed
from nodes.react.state import BUILT_IN
from sandbox.python import MEANINGS, SandboxFailed, SandboxUnavailable, shared_sandbox
from ui.diff_picture import diff_html
from ui.safe_text import as_markdown, one_line
from ui.session import Session, open_session

METHODS: dict[Method, tuple[str, str]] = {
    "self_refine": (
        "Drafts and criticism",
        "Writes a draft, has it criticised, and revises it; you get the best draft (Self-Refine).",
    ),
    "reflexion": (
        "Trials and lessons",
        "Tries, checks, puts into words what went wrong, and tries again; lessons are kept (Reflexion).",
    ),
    "react": ("Thoughts and tools", "Thinks in steps and calls tools until it has an answer (ReAct)."),
}
EVALUATORS = {
    "judge": "the model as a judge",
    "tests": "tests that I give",
    "own_tests": "tests that the model writes",
    "exact": "the exact answer",
}
STEPS = {
    "draft": "Writing a draft", "critique": "Criticising", "revise": "Revising", "recall_lessons": "Looking for lessons",
    "attempt": "Trying", "evaluate": "Checking", "reflect": "Learning from it",
    "begin": "Beginning", "think": "Thinking", "act": "Calling tools",
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
PAUSES: dict[Method, tuple[str, ...]] = {
    "self_refine": ("draft", "critique", "revise"),
    "reflexion": ("reflect",),
    "react": (),
}
EXAMPLE = "Write a Python function roman(n) that gives the Roman numeral of a whole number from 1 to 3999."
EXAMPLE_TESTS = 'assert roman(1) == "I"\nassert roman(1994) == "MCMXCIV"'


def show() -> None:
    """Draw the page."""
    session = open_session()
    st.subheader("Refine", anchor=False)
    if "refine_run" not in st.session_state:
        st.session_state.refine_run = st.query_params.get("run", "") or uuid.uuid4().hex[:12]
        if (asked := st.query_params.get("method", "")) in METHODS:
            st.session_state.refine_method = asked
    method = st.segmented_control(
        "Method",
        list(METHODS),
        format_func=lambda m: METHODS[m][0],
        default="self_refine",
        key="refine_method",
        required=True,
    )
    st.caption(METHODS[method][1])
    run = st.session_state.refine_run
    st.query_params.update({"run": run, "method": method})
    state = session.runtime.solver_state(method, run)
    if state.get("agent", session.context.agent) != session.context.agent:
        st.session_state.refine_run = uuid.uuid4().hex[:12]  # the agent was changed: its runs are others
        st.rerun()
    waits = session.runtime.solver_waits_at(method, run)
    context = _ask(session, method, state)
    place = st.container()
    _show_run(session, method, state, waits, context)
    with place:
        if pending := st.session_state.pop("refine_start", None):
            _run(session, method, pending["task"], context)
    _show_lessons(session)
    _show_sandbox()


# ---- what is asked ---------------------------------------------------------------------------------------------------


def _ask(session: Session, method: Method, state: dict[str, Any]) -> SolverContext | None:
    """The task, how it is checked and its budgets; None, with the reason shown, while they cannot work."""
    offline = session.context.model == OFFLINE
    if offline:
        st.info(
            "This page needs a language model, and none is connected. Start Ollama, LM Studio or vLLM on this machine, or set "
            "OPENAI_BASE_URL and OPENAI_API_KEY, and reload the page.",
            icon=":material/cloud_off:",
        )
    st.session_state.setdefault("refine_task", state.get("task", ""))
    task = st.text_area("Task", key="refine_task", height=110, placeholder=EXAMPLE, max_chars=20_000)
    with st.expander("How it is checked, and its budget", icon=":material/tune:"):
        try:
            context = _context(session, method)
        except ValueError as error:
            context = None
            st.warning(as_markdown(str(error).removeprefix("Context.")), icon=":material/edit:")
    start, step, new = st.columns([1, 2, 1], vertical_alignment="center")
    start.button(
        "Start", type="primary", width="stretch", icon=":material/play_arrow:", on_click=_start, args=(task,),
        disabled=offline or context is None or not task.strip(), help="Write a task first." if not task.strip() else None,
    )  # fmt: skip
    if PAUSES[method]:
        step.toggle(
            "Let me step in", key="refine_step", help="It waits after each step, and you may edit what it wrote."
        )
    if state:
        new.button("New task", width="stretch", icon=":material/edit_square:", on_click=_new)
    elif not task:
        new.button("Try an example", width="stretch", on_click=_example)
    return context


def _context(session: Session, method: Method) -> SolverContext:
    agent, model = session.context.agent, session.context.model
    seconds = st.number_input("Most seconds", 10, 7_200, 600, key="refine_seconds")
    if method == "react":
        tools = st.multiselect("Tools", list(BUILT_IN), default=list(BUILT_IN), key="refine_tools")
        servers = st.text_area(
            "MCP servers, one in each line",
            key="refine_mcp",
            height=68,
            help="A URL, or a name in PALIMPSEST_MCP_SERVERS.",
        )
        steps = st.number_input("Most steps", 1, 50, 8, key="refine_steps")
        mcp = [line.strip() for line in servers.splitlines() if line.strip()]
        return react.Context(agent=agent, model=model, tools=tools, mcp=mcp, max_steps=steps, max_seconds=seconds)
    if method == "self_refine":
        by = st.radio("Critic", ["the model", "tests that I give"], horizontal=True, key="refine_critic")
        tests = _tests() if by != "the model" else ""
        most = st.number_input("Most drafts", 1, 20, 4, key="refine_drafts")
        accept = st.slider("Good enough from a score of", 0.1, 1.0, 0.9, 0.05, key="refine_accept")
        if by != "the model" and not tests.strip():
            raise ValueError("tests are to criticise, but there are none: write at least one assertion.")
        return self_refine.Context(
            agent=agent, model=model, tests=tests, max_drafts=most, accept_at=accept, max_seconds=seconds
        )
    evaluator = st.radio(
        "Checked by", list(EVALUATORS), format_func=lambda e: EVALUATORS[e], horizontal=True, key="refine_evaluator"
    )
    tests = _tests() if evaluator == "tests" else ""
    expected = (
        st.text_input("The exact answer (the model never sees it)", key="refine_expected")
        if evaluator == "exact"
        else ""
    )
    with_tools = st.toggle("It may use tools while it tries", key="refine_with_tools")
    most = st.number_input("Most trials", 1, 20, 4, key="refine_trials")
    return reflexion.Context(
        agent=agent, model=model, evaluator=cast(Any, evaluator), tests=tests, expected=expected,
        attempt="react" if with_tools else "write", max_trials=most, max_seconds=seconds,
    )  # fmt: skip


def _tests() -> str:
    return st.text_area("Tests, an assertion in each line", key="refine_tests", height=110, placeholder=EXAMPLE_TESTS)


def _start(task: str) -> None:
    st.session_state.refine_run = uuid.uuid4().hex[:12]
    st.session_state.refine_start = {"task": task}


def _go_on() -> None:
    st.session_state.refine_start = {"task": None}


def _new() -> None:
    st.session_state.refine_run, st.session_state.refine_task = uuid.uuid4().hex[:12], ""


def _example() -> None:
    st.session_state.update(
        refine_task=EXAMPLE, refine_critic="tests that I give", refine_evaluator="tests", refine_tests=EXAMPLE_TESTS
    )


# ---- one run ---------------------------------------------------------------------------------------------------------


def _run(session: Session, method: Method, task: str | None, context: SolverContext | None) -> None:
    """Run (None: go on), drawing what it writes as it comes; then draw the page anew from what was kept."""
    if context is None:
        return
    pauses = PAUSES[method] if st.session_state.get("refine_step") else ()
    stream = session.runtime.stream_solver(method, st.session_state.refine_run, task, context, pause_after=pauses)
    try:
        with st.status("Working…", expanded=True) as status, closing(stream):
            st.button("Stop", icon=":material/stop:", help="What is done is kept, and you can go on with it.")
            reply, text, place = "", "", st.empty()
            for part in stream:
                if part["type"] == "updates":
                    for step in part["data"]:
                        if step in STEPS:
                            status.update(label=f"{STEPS[step]}: done")
                    continue
                message, _ = part["data"]
                if isinstance(message, AIMessageChunk):
                    if message.id != reply:
                        reply, text, place = str(message.id), "", st.empty()
                    text += message.text
                    if text:
                        place.caption(one_line(text[-300:], 300))
    except (ModelFailed, SandboxFailed, SandboxUnavailable, ValueError, RuntimeError) as error:
        st.session_state.refine_failure = str(error)
    st.rerun()


# ---- what came of it -------------------------------------------------------------------------------------------------


def _show_run(
    session: Session, method: Method, state: dict[str, Any], waits: str, context: SolverContext | None
) -> None:
    if failure := st.session_state.pop("refine_failure", ""):
        st.error(as_markdown(failure), icon=":material/error:")
    if not state:
        st.caption(
            "Nothing has been tried yet. Write a task and press Start; every draft, score and lesson stays here."
        )
        return
    if waits:
        _show_pause(session, method, state, waits, context)
    elif state.get("stop"):
        kind, told = ENDINGS[state["stop"]]
        getattr(st, kind)(told + (f" {as_markdown(state['error'])}" if state.get("error") else ""))
    if state.get("answer") and not waits:
        with st.container(border=True):
            st.caption("Answer" + (f" · score {state['score']:.2f}" if "score" in state else ""))
            _show_text(state["answer"])
    if method == "react":
        _show_steps(state)
    else:
        _show_versions(method, state)


def _show_text(text: str) -> None:
    """Text of a model: Markdown that loads nothing; a bare program as code."""
    if text.lstrip().startswith(("def ", "import ", "from ", "class ")):
        st.code(text, language="python", wrap_lines=True)
    else:
        st.markdown(as_markdown(text[:20_000]))


def _show_versions(method: Method, state: dict[str, Any]) -> None:
    """Scores as a line, two versions as a diff, and each version foldable."""
    refine = method == "self_refine"
    word = "Draft" if refine else "Trial"
    if not refine and state.get("recalled"):
        st.caption("Lessons from earlier tasks, in view from the first trial on")
        _cards([(lesson["text"], lesson["task"]) for lesson in state["recalled"]])
    versions = state.get("drafts" if refine else "trials", [])
    scored = [v for v in versions if (v["score"] >= 0 if refine else v["outcome"])]
    if len(scored) > 1:
        st.line_chart(
            {word: [v["number"] for v in scored], "Score": [v["score"] for v in scored]}, x=word, y="Score", height=180
        )
    if len(versions) > 1:
        texts = {v["number"]: v["text" if refine else "answer"] for v in versions}
        left, right = st.columns(2)
        numbers = list(texts)
        a = left.selectbox(
            "Compare", numbers, index=len(numbers) - 2, format_func=lambda n: f"{word} {n}", key="refine_left"
        )
        b = right.selectbox(
            "with", numbers, index=len(numbers) - 1, format_func=lambda n: f"{word} {n}", key="refine_right"
        )
        st.html(diff_html(texts[a], texts[b], f"{word} {a}", f"{word} {b}"))
    for version in versions:
        _show_version(version, word, refine)


def _show_version(version: dict[str, Any], word: str, refine: bool) -> None:
    known = version["score"] >= 0 if refine else version["outcome"]
    said = (
        f"score {version['score']:.2f}" + ("" if refine else f", {version['outcome']}") if known else "not checked yet"
    )
    with st.expander(f"{word} {version['number']} · {said}"):
        _show_text(version["text" if refine else "answer"] or "(no answer)")
        if told := version["critique" if refine else "feedback"]:
            st.caption("Critique" if refine else "What came of it")
            st.code(told, language=None, wrap_lines=True)
        if not refine and version["lesson"]:
            st.caption("Lesson")
            _cards([(version["lesson"], "")])


def _show_steps(state: dict[str, Any]) -> None:
    results = {m.tool_call_id: m for m in state.get("messages", []) if isinstance(m, ToolMessage)}
    number = 0
    for message in state.get("messages", []):
        if not isinstance(message, AIMessage):
            continue
        number += 1
        with st.expander(
            f"Step {number} · {one_line(message.text or ', '.join(c['name'] for c in message.tool_calls), 70)}"
        ):
            if message.text:
                st.markdown(as_markdown(message.text))
            for call in message.tool_calls:
                st.code(
                    f"{call['name']}({json.dumps(call['args'], ensure_ascii=False)})"[:4_000],
                    language=None,
                    wrap_lines=True,
                )
                if call["id"] in results:
                    st.caption("Observation" if results[call["id"]].status == "success" else "It failed")
                    st.code(results[call["id"]].text, language=None, wrap_lines=True)


def _show_pause(
    session: Session, method: Method, state: dict[str, Any], waits: str, context: SolverContext | None
) -> None:
    """A paused run: what was written last can be edited before it goes on."""
    run, field = st.session_state.refine_run, {"self_refine": "drafts", "reflexion": "trials"}.get(method, "")
    versions = state.get(field, [])
    st.info(f"It waits. Next: {STEPS.get(waits, waits).lower()}.", icon=":material/pause_circle:")
    if not versions:
        st.button("Go on", type="primary", icon=":material/play_arrow:", on_click=_go_on, disabled=context is None)
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
            _go_on()
            st.rerun()


def _cards(lessons: list[tuple[str, str]]) -> None:
    for text, task in lessons:
        with st.container(border=True):
            st.markdown(f":material/lightbulb: {as_markdown(text)}")
            if task:
                st.caption(f"learnt from: {one_line(task, 120)}")


# ---- below -----------------------------------------------------------------------------------------------------------


def _show_lessons(session: Session) -> None:
    lessons = Lessons(session.runtime.store, session.context.agent)
    kept = lessons.all(most=50)
    with st.expander(f"What {session.context.agent} has learnt ({len(kept)} lessons)", icon=":material/lightbulb:"):
        if not kept:
            st.caption(
                "No lessons yet. The method “Trials and lessons” keeps one whenever a trial fails, and finds it for similar tasks."
            )
        for lesson in kept:
            text, button = st.columns([6, 1], vertical_alignment="center")
            with text:
                st.markdown(as_markdown(lesson.text))
                used = f" · helped {lesson.helped}, did not {lesson.failed}" if lesson.helped + lesson.failed else ""
                st.caption(f"{one_line(lesson.task, 100)}{used}")
            button.button("Forget", key=f"forget-{lesson.key}", on_click=lessons.forget, args=(lesson.key,))


@st.cache_data(ttl=60, show_spinner="Testing the sandbox…")
def _sandbox_in_force() -> tuple[str, dict[str, str], str]:
    """(back end, what was passed over and why, why there is none)."""
    try:
        sandbox = shared_sandbox()
    except SandboxUnavailable as error:
        return "", {}, str(error)
    return sandbox.kind, sandbox.passed_over, ""


def _show_sandbox() -> None:
    kind, passed_over, error = _sandbox_in_force()
    if error:
        st.error(f"Programs cannot be run. {as_markdown(error)}", icon=":material/gpp_bad:")
        return
    st.caption(f":material/shield: Programs run in the sandbox **{kind}**: {MEANINGS[kind]}.")
    for name, why in passed_over.items():
        st.warning(f"The stronger sandbox {name} is not in force: {as_markdown(why)}", icon=":material/shield:")
