"""reply: what the person says, a real one or a simulated one. Only here, and in score, is the hidden reference looked up.

A language model that plays the person reads requirements in words (specification), not the reference.
"""

import base64
import contextvars
import logging
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from langsmith import tracing_context

from models.endpoint import open_person
from models.refusals import ModelFailed
from models.reply import Stopped
from nodes.collaborate.specification import specification
from nodes.collaborate.state import Context, State
from nodes.replies import reply_to, settings_of
from sandbox.html import render_html
from tasks.answers import page_in
from tasks.colbench import Task
from tasks.dialogue import Turn, said_by
from tasks.lookup import find_task
from tasks.person import RESAMPLES, PersonBehaviour, answer_from_facts, cut, leak_in
from text import clean_text

logger = logging.getLogger(__name__)

PERSON = """\
You play a person who wants {what} and works on it with an assistant. What you want is listed below, and the assistant cannot see \
the list. Answer what the assistant asks last, and nothing that it did not ask for, in at most two sentences of plain words. If it \
asks for several things at once, say that you take one at a time. Say only what follows from the list; if it does not say, say \
that you do not know. You cannot program: never write code, names of variables or formulas."""
WANTED = {"backend": "a Python function", "frontend": "a web page"}
EYES = """\
You play a person who wants a web page and works on it with a designer. The first picture is the page as you want it, the second, \
if there is one, what the designer shows you. Tell the designer in at most two sentences of plain words the most important \
differences, as one who only sees pictures; if there are none, say that it is right. Never write HTML or CSS."""
CAREFUL = "Your last try gave code away. Say it in plain words, without any code."
MOST_SEEN = 1_000  # characters of what a person says of a picture


def reply(state: State, runtime: Runtime[Context]) -> State:
    """The person's next turn. A real one is waited for: go on with `Command(resume="what they say")`; for nothing said it
    waits again. Raises ModelFailed.
    """
    context, said = runtime.context, state["turns"][-1]["content"]
    leak = ""
    if context.person == "human":
        text = ""
        while not text.strip():
            left = context.max_turns - len(said_by("agent", state["turns"]))
            text = str(interrupt({"said": said, "turns_left": left}) or "")
        text = clean_text(text).strip()
    else:
        task = find_task(state["task"], settings_of(runtime))
        text, leak = _simulated(task, state, said, runtime)
    return {"turns": [*state["turns"], Turn(role="person", content=text, thought="", leak=leak)]}


def _simulated(task: Task, state: State, said: str, runtime: Runtime[Context]) -> tuple[str, str]:
    """What a simulated person says, and the kind of code it gave away in spite of several tries."""
    context = runtime.context
    if context.person == "rules":
        behaviour = PersonBehaviour(context.patience, context.vagueness, context.forgetfulness)
        text = answer_from_facts(task, said, state["turns"][:-1], behaviour, context.seed)
        return text, leak_in(text, task.ground_truth)
    prompt = _eyes(task, said) if context.person == "vision" else _words(task, state, runtime)
    most = MOST_SEEN if context.person == "vision" else 400
    text = leak = ""
    for attempt in range(RESAMPLES):
        asked = prompt if not attempt else [*prompt, HumanMessage(CAREFUL)]
        text = cut(clean_text(_ask_in_private(asked, runtime)), most) or "I do not know."
        leak = leak_in(text, task.ground_truth)
        if not leak:
            break
    return text, leak


def _ask_in_private(prompt: list[BaseMessage], runtime: Runtime[Context]) -> str:
    """Ask the person's model outside of the graph's callbacks and traces: its prompt holds what is hidden."""
    context = runtime.context

    def ask() -> str:
        with tracing_context(enabled=False):
            settings = settings_of(runtime)
            model = open_person(context.person_model or context.model or settings.model, settings)
            return reply_to(prompt, model, runtime, tags=["nostream"], temperature=0.0).text

    try:
        return contextvars.Context().run(ask)
    except Stopped:
        raise
    except Exception as error:  # its text may quote the prompt, and errors go into checkpoints
        logger.warning("The model that plays the person failed.", exc_info=True)
        status = error.status if isinstance(error, ModelFailed) else 0
        reason = f"HTTP {status}" if status else type(error).__name__
        raise ModelFailed(
            f"The model that plays the person failed ({reason}): check PALIMPSEST_PERSON_URL "
            "and PALIMPSEST_PERSON_KEY, or the endpoint and its key. What was said is kept."
        ) from None


def _words(task: Task, state: State, runtime: Runtime[Context]) -> list[BaseMessage]:
    said = "\n\n".join(f"{'Assistant' if t['role'] == 'agent' else 'You'}: {t['content']}" for t in state["turns"])
    wanted = specification(task, lambda prompt: _ask_in_private(prompt, runtime), settings_of(runtime))
    background = f"Your request:\n{task.description}\n\nWhat you want:\n{wanted}"
    asked = f"{background}\n\nThe dialogue so far:\n{said}\n\nYou:"
    return [SystemMessage(PERSON.format(what=WANTED[task.kind])), HumanMessage(asked)]


def _eyes(task: Task, said: str) -> list[BaseMessage]:
    page = page_in(said)
    parts: list[str | dict[str, Any]] = [
        {"type": "text", "text": "The page as you want it:"},
        _picture(task.ground_truth),
    ]
    parts += [{"type": "text", "text": "What the designer shows you:"}, _picture(page)] if page else [
        {"type": "text", "text": "The designer shows you no page yet, but says:\n" + said[:2_000]}
    ]  # fmt: skip
    return [SystemMessage(EYES), HumanMessage(content=parts)]


def _picture(html: str) -> dict[str, Any]:
    encoded = base64.b64encode(render_html(html).png).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
