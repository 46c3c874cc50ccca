"""The collaborate machine: dialogues with people of every kind, and a hidden reference that no state, prompt or trace holds."""

import json
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from graphs import collaborate
from memory.blocks import load_blocks
from models.refusals import ModelFailed
from models.scripted import PolicyModel, ScriptedModel, call
from nodes.collaborate.specification import is_plain, specification
from runtime import Runtime
from sandbox.browser import RenderUnavailable, choose_kind
from settings import Settings
from tasks.answers import MARKER
from tasks.backend_score import TruthFailed
from tasks.colbench import BadTask, task_of
from tasks.environment import Scoring
from tasks.kinds import ENVIRONMENTS
from tasks.lookup import find_task, store_tasks
from tasks.page_differences import CANNOT_SEE
from tasks.trajectory import trajectory_of

TASK = "own-backend/train/3/1"
SECRET = "canary_4711"
PROGRAM = f"def f(x):\n    {SECRET} = 5\n    return x * {SECRET}"


@pytest.fixture
def own(home: Any) -> str:
    """A task whose reference is told from everything else."""
    row = {
        "problem_description": "Multiply it. The signature of the function is: def f(x)", "ground_truth": PROGRAM,
        "test_cases": {"a": "f(2)", "b": "f(33)"}, "facts": [{"key": "by", "value": "5", "statement": "Multiply by five.", "keywords": ["much"]}],
        "examples": "assert f(1) == 5",
    }  # fmt: skip
    return store_tasks([task_of(row, "x")], "own", Settings())[0]


def context(*turns: Any, **more: Any) -> collaborate.Context:
    return collaborate.Context(model=ScriptedModel(turns=list(turns), prompts=[]), **{"person": "rules", **more})


def answer(program: str) -> str:
    return f"{MARKER}\n```python\n{program}\n```"


RIGHT = answer("def f(x): return x * 5")


def test_it_asks_thinks_and_answers(runtime: Runtime, own: str) -> None:
    made = context("He may mean five. OUTPUT: How much?", "<think>so</think>" + RIGHT)
    state = runtime.run("collaborate", "t", own, made)
    assert [(t["role"], t["content"]) for t in state["turns"][:2]] == [
        ("agent", "How much?"),
        ("person", "Multiply by five."),
    ]
    assert [t["thought"] for t in state["turns"]] == ["He may mean five.", "", "so"]
    assert (state["score"], state["success"], state["stop"], state["told"]) == (1.0, True, "answered", ["by"])
    row = trajectory_of(json.loads(json.dumps(state["trajectory"])))
    assert (row.task, row.person, row.score, len(row.turns)) == (own, "rules", 1.0, 3)
    model: Any = made.model
    assert "He may mean" not in str(model.prompts[1])
    model.finish()


def test_a_question_may_cost(runtime: Runtime, own: str) -> None:
    state = runtime.run("collaborate", "t", own, context("How much?", RIGHT, question_cost=0.25))
    assert (state["score"], state["success"]) == (0.75, True)
    dear = runtime.run("collaborate", "u", own, context("How much?", RIGHT, question_cost=1.0))
    assert (dear["score"], dear["trajectory"]["score"]) == (0.0, 0.0)


SHOWN = "So:\n```python\ndef f(x): return x * 5\n```\nIs it right?"


@pytest.mark.parametrize(
    ("turns", "most", "score", "stop", "failure"),
    [
        (["How much?"] * 3, 3, 0.0, "turn_limit", "no_function"),
        (["How much?", "def f(x): return x * 5"], 2, 1.0, "turn_limit", ""),
        ([RIGHT], 1, 1.0, "answered", ""),
        ([answer("def g(x): return 1")], 4, 0.0, "answered", "no_function"),
        ([f"{MARKER} "], 4, 0.0, "answered", "no_answer"),
        (["", "How much?", RIGHT], 4, 1.0, "answered", ""),
        ([f"{RIGHT}\n{MARKER} def f(x): return 0"], 4, 1.0, "answered", ""),
        ([f"def f(x): return x * 5\n{MARKER} That is it."], 4, 1.0, "answered", ""),
        ([SHOWN, f"{MARKER} It is the one above."], 4, 1.0, "answered", ""),
        ([SHOWN, "Here is the function."], 2, 1.0, "turn_limit", ""),
        (["```python\ndef f(x): return 0\n```", SHOWN, f"{MARKER} As above."], 4, 1.0, "answered", ""),
    ],
)
def test_it_ends(
    runtime: Runtime, own: str, turns: list[str], most: int, score: float, stop: str, failure: str
) -> None:
    made = context(*turns, max_turns=most)
    state = runtime.run("collaborate", "t", own, made)
    assert (state["score"], state["stop"], state["failure"]) == (score, stop, failure)
    made.model.finish()  # type: ignore[union-attr]
    prompts: Any = made.model.prompts  # type: ignore[union-attr]
    assert ("last turn" in str(prompts[-1][-1].content)) == (stop == "turn_limit" or most == 1)


def test_a_real_person_is_waited_for(runtime: Runtime, own: str) -> None:
    made = context("How much?", RIGHT, person="human")
    state = runtime.run("collaborate", "t", own, made)
    assert runtime.pending_step("collaborate", "t") == "reply"
    assert len(state["turns"]) == 1
    runtime.run("collaborate", "t", Command(resume="  "), made)
    assert runtime.pending_step("collaborate", "t") == "reply"
    state = runtime.run("collaborate", "t", Command(resume="Five times."), made)
    assert [t["content"] for t in state["turns"]][1] == "Five times."
    assert state["score"] == 1.0
    with pytest.raises(ValueError, match="nothing to go on with"):
        runtime.run("collaborate", "t", Command(resume="more"), made)


def test_a_wish_without_a_reference_has_no_score(runtime: Runtime) -> None:
    made = context(RIGHT, person="human")
    state = runtime.run("collaborate", "t", {"wish": "Multiply.", "kind": "backend"}, made)
    assert (state["score"], state["success"], state["answer"] != "") == (None, None, True)
    assert trajectory_of(state["trajectory"]).score is None
    for given, told in (({"wish": " "}, "neither a task nor a wish"), ({"task": "none/1"}, "no task")):
        with pytest.raises((ValueError, BadTask), match=told):
            runtime.run("collaborate", told[:3], given, context(person="human"))
    with pytest.raises(ValueError, match="needs a task with a reference"):
        runtime.run("collaborate", "u", {"wish": "Multiply."}, context())


def test_a_person_who_is_a_model_is_kept_from_giving_code(runtime: Runtime, own: str) -> None:
    person = ScriptedModel(
        turns=[
            "Write def f(x) so.",
            "```x```",
            "Multiply it by five. It is easy. And more.",
            *["return x * canary"] * 4,
        ],
        prompts=[],
    )
    made = context("How much?", "And then?", RIGHT, person="model", person_model=person)
    state = runtime.run("collaborate", "t", own, made)
    assert [(t["content"], t["leak"]) for t in state["turns"] if t["role"] == "person"] == [
        ("Multiply it by five. It is easy.", ""),
        ("return x * canary", "signature"),
    ]
    assert "Multiply by five." in str(person.prompts[0]), "it knows the requirements"
    assert SECRET not in str(person.prompts), "and not the code"
    person.finish()


def test_requirements_are_written_in_words_once_for_a_task_without_facts(runtime: Runtime, own: str) -> None:
    row = {**find_task(own, Settings()).to_row(), "facts": []}
    bare = store_tasks([task_of(row, "x")], "bare", Settings())[0]
    poor = f"It multiplies.\nreturn x * {SECRET}\nThe factor {SECRET} is five.\nif x == 2: ten"
    writer: list[str | BaseMessage | Exception] = [poor] * 4
    first = ScriptedModel(turns=[*writer, "By five."], prompts=[])
    state = runtime.run("collaborate", "t", bare, context("How much?", RIGHT, person="model", person_model=first))
    assert state["turns"][1]["content"] == "By five."
    assert SECRET in str(first.prompts[0]), "who writes the requirements reads the code"
    asked = str(first.prompts[-1])
    assert "It multiplies." in asked
    assert not any(word in asked for word in (SECRET, "return", "==")), "who plays the person does not"
    first.finish()
    again = ScriptedModel(turns=["Five."], prompts=[])
    runtime.run("collaborate", "u", bare, context("How much?", RIGHT, person="model", person_model=again))
    again.finish()


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("None of the values may be negative.", True), ("Round the price(s) to two decimals.", True),
        ('The label reads "Sales > 50".', True), ('It says "[sold out]" when nothing is left.', True),
        ("Ten percent (10 %) is taken off.", True), ("True fans get double points.", True), ("A well-known name, e.g. mine.", True),
        ("x * 2 + y - 1", False), ("return y", False), ("int of x % 7 // 2", False), ("for v in x: y.append v", False),
        ("font-size: 36px; color: #1d4ed8", False), ("classes bg-blue-600, text-white, rounded-lg", False),
    ],
)  # fmt: skip
def test_a_requirement_is_words(line: str, plain: bool) -> None:
    assert is_plain(line, "def f(x, y):\n    return x * 2 + y - 1") == plain


def test_the_most_requirements_are_kept_and_none_are_not_stored(runtime: Runtime, own: str) -> None:
    bare = task_of({**find_task(own, Settings()).to_row(), "facts": [], "stated": []}, "x")
    with pytest.raises(ValueError, match="no requirement in plain words"):
        specification(bare, lambda prompt: "", runtime.settings)
    replies = iter(["Good line one.\nGood line two.\nx = 3", "Good.\nx = 3", "x = 3", ""])
    assert specification(bare, lambda prompt: next(replies), runtime.settings) == "Good line one.\nGood line two."
    assert specification(bare, lambda prompt: pytest.fail("it is stored"), runtime.settings).startswith(
        "Good line one."
    )


class Trace(BaseCallbackHandler):
    """Everything that a tracer would be told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **more: Any) -> None:
        self.told.append(repr((inputs, more)))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **more: Any) -> None:
        self.told.append(repr((outputs, more)))

    def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
        self.told.append(repr((messages, more)))


@pytest.mark.parametrize("kind", ["rules", "model", "human"])
def test_the_reference_is_in_no_state_prompt_checkpoint_or_trace(own: str, kind: Any) -> None:
    person = ScriptedModel(turns=["Multiply by five."], prompts=[])
    made = context("How much?", answer("def f(x): return [x, dir()]"), person=kind, person_model=person)
    saver, trace = InMemorySaver(), Trace()
    graph = collaborate.builder.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "t"}, "callbacks": [trace]}
    parts: list[Any] = [*graph.stream({"task": own}, config, context=made, stream_mode=["debug", "values", "messages"])]
    if kind == "human":
        parts += [
            *graph.stream(Command(resume="Multiply by five."), config, context=made, stream_mode=["debug", "values"])
        ]
    history = [*graph.get_state_history(config)]
    assert len(history) > 5
    prompts: Any = made.model.prompts  # type: ignore[union-attr]
    assert trace.told
    assert "How much?" in "".join(trace.told)
    for place in (
        parts,
        history,
        prompts,
        trace.told,
        list(saver.storage.items()),
        list(saver.blobs.items()),
        list(saver.writes.items()),
    ):
        assert SECRET not in repr(place)
    assert history[0].values["score"] == 0.0
    if kind == "model":
        assert SECRET not in repr(person.prompts)


def test_a_program_finds_nothing_of_the_reference_in_its_process(runtime: Runtime, own: str) -> None:
    spy = (
        "import gc, sys\ndef f(x):\n    seen = [repr(o)[:2000] for o in gc.get_objects() if isinstance(o, (str, dict, list, tuple))]\n"
        "    seen += [repr(m.__dict__)[:2000] for m in list(sys.modules.values()) if hasattr(m, '__dict__')]\n"
        "    return any(''.join(['canary_', '4711']) in s for s in seen)"
    )
    state = runtime.run("collaborate", "t", own, context(answer(spy)))
    assert (state["score"], state["failure"]) == (0.0, "wrong")
    always = task_of(
        {**find_task(own, Settings()).to_row(), "ground_truth": "def f(x):\n    return False", "examples": ""}, "y"
    )
    assert ENVIRONMENTS["backend"].score(always, spy, Scoring(settings=runtime.settings)).success
    planted = f"{spy}\nHERE = '{SECRET}'"
    assert not ENVIRONMENTS["backend"].score(always, planted, Scoring(settings=runtime.settings)).success, (
        "the spy finds what is there"
    )


def test_with_memory_it_knows_the_person_from_earlier_tasks(runtime: Runtime, own: str) -> None:
    note = call("working_context_append", block="human", content="Likes euros and short names.")
    made = context(note, "How much?", RIGHT, memory=True, agent="ada")
    runtime.run("collaborate", "t", own, made)
    assert load_blocks(runtime.store, "ada")["human"] == "Likes euros and short names."
    later = context(
        call("archival_memory_search", query="euros", page=1), call("fly", x=1), RIGHT, memory=True, agent="ada"
    )
    runtime.run("collaborate", "u", own, later)
    prompts: list[list[BaseMessage]] = later.model.prompts  # type: ignore[union-attr]
    assert "Likes euros and short names." in prompts[0][0].text
    assert "There is no tool 'fly'" in prompts[2][-1].text
    other = context(RIGHT, memory=True, agent="bob")
    runtime.run("collaborate", "v", own, other)
    assert "euros" not in str(other.model.prompts)  # type: ignore[union-attr]


def test_it_can_refine_before_it_answers(runtime: Runtime, own: str) -> None:
    trials = ("Multiply by four.", "def f(x): return x * 4", "Multiply by five.", "def f(x): return x * 5")
    turns = (answer("def f(x): return x"), *trials)
    made = context(*turns, refine=True)
    state = runtime.run("collaborate", "t", own, made)
    assert state["score"] == 1.0
    made.model.finish()  # type: ignore[union-attr]


def test_released_scoring_is_a_switch(runtime: Runtime, own: str) -> None:
    helper = answer("def g(x): return x * 5\ndef f(x): return g(x)")
    assert runtime.run("collaborate", "t", own, context(helper))["score"] == 1.0
    assert runtime.run("collaborate", "u", own, context(helper, scoring="released"))["score"] == 0.0


def test_a_dialogue_that_broke_off_goes_on_and_pays_once(runtime: Runtime, own: str) -> None:
    made = context("How much?", ModelFailed("no endpoint"), RIGHT)
    with pytest.raises(ModelFailed):
        runtime.run("collaborate", "t", own, made)
    state = runtime.run("collaborate", "t", None, made)
    assert state["score"] == 1.0
    assert len(state["turns"]) == 3


def test_tokens_are_counted(runtime: Runtime, own: str) -> None:
    usage: Any = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
    made = context(AIMessage("How much?", usage_metadata=usage), AIMessage(RIGHT, usage_metadata=usage))
    state = runtime.run("collaborate", "t", own, made)
    assert (state["input_tokens"], state["output_tokens"]) == (200, 14)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_turns", 0), ("max_turns", 101), ("patience", -1), ("vagueness", 2), ("forgetfulness", -1), ("tolerance", 1)],
)
def test_bad_contexts_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"Context\.{field}"):
        collaborate.Context(**{field: value})


def test_a_page_is_shown_compared_and_scored(runtime: Runtime) -> None:
    try:
        choose_kind()
    except RenderUnavailable:
        pytest.skip("no bubblewrap")
    task = find_task("own-frontend/train/4/3", Settings())
    eyes = ScriptedModel(turns=["The cards are missing.", "It is right."], prompts=[])
    first = "<html><body><h1>Hello, this is our new page</h1></body></html>"
    made = context(first, "And now? OUTPUT: So?", f"{MARKER} {task.ground_truth}", person="vision", person_model=eyes)
    state = runtime.run("collaborate", "t", task.task_id, made)
    assert state["score"] == pytest.approx(1.0)
    assert set(state["parts"]) == {"blocks", "colours", "structure"}
    asked: Any = eyes.prompts[0][1].content
    assert sum(part["type"] == "image_url" for part in asked) == 2
    assert sum(part["type"] == "image_url" for part in eyes.prompts[1][1].content) == 1  # type: ignore[index]
    rules = context(first, first, max_turns=2)
    state = runtime.run("collaborate", "u", task.task_id, rules)
    assert state["turns"][1]["content"] == CANNOT_SEE
    assert (state["stop"], state["answer"]) == ("turn_limit", first)
    assert 0 <= state["score"] < 0.3
    nothing = runtime.run("collaborate", "v", task.task_id, context("no page", max_turns=1))
    assert (nothing["score"], nothing["failure"]) == (0.0, "no_answer")


def test_without_a_checkpointer_and_many_at_once(own: str) -> None:
    model = PolicyModel(policy=lambda prompt: RIGHT if len(prompt) > 2 else "How much?")
    made = collaborate.Context(model=model, person="rules")
    done = collaborate.graph.batch([{"task": own}] * 8, context=made)
    assert [d["score"] for d in done] == [1.0] * 8


def test_errors_of_the_hidden_side_tell_nothing_hidden(own: str, runtime: Runtime) -> None:
    made = context("How much?", person="model", person_model=ScriptedModel(turns=[ValueError(SECRET)], prompts=[]))
    with pytest.raises(ModelFailed, match="plays the person") as failed:
        runtime.run("collaborate", "t", own, made)
    assert SECRET not in repr(failed.value)
    assert failed.value.__cause__ is None
    row = {**find_task(own, Settings()).to_row(), "ground_truth": f"def f(x):\n    return {SECRET}"}
    (broken,) = store_tasks([task_of(row, "x")], "broken", Settings())
    never = context(person="human")
    with pytest.raises(TruthFailed, match="nothing to compare with"):
        runtime.run("collaborate", "u", broken, never)
    state = repr(runtime.graphs["collaborate"].get_state(runtime.config("collaborate", "u")))
    assert SECRET not in state


def test_a_thread_takes_a_task_then_a_wish_then_a_task(runtime: Runtime, own: str) -> None:
    assert runtime.run("collaborate", "t", own, context(RIGHT))["score"] == 1.0
    done = runtime.run("collaborate", "t", {"wish": "Multiply.", "kind": "backend"}, context(RIGHT, person="human"))
    assert (done["task"], done["score"], done["description"]) == ("", None, "Multiply.")
    assert runtime.run("collaborate", "t", {"task": own}, context(RIGHT))["score"] == 1.0
    with pytest.raises(ValueError, match="kind='both'"):
        runtime.run("collaborate", "t", {"wish": "x", "kind": "both"}, context(person="human"))


def test_nothing_as_a_reply_waits_on(runtime: Runtime, own: str) -> None:
    made = context("How much?", RIGHT, person="human")
    runtime.run("collaborate", "t", own, made)
    runtime.run("collaborate", "t", Command(resume=None), made)
    assert runtime.pending_step("collaborate", "t") == "reply"
    assert runtime.state("collaborate", "t")["setting"]["person"] == "human"


def test_a_page_that_cannot_be_drawn_is_no_reference(runtime: Runtime) -> None:
    try:
        choose_kind()
    except RenderUnavailable:
        pytest.skip("no bubblewrap")
    row = {"problem_description": "A page.", "ground_truth": "<b>" * 30_000}
    (broken,) = store_tasks([task_of(row, "x")], "broken", Settings())
    with pytest.raises(TruthFailed):
        runtime.run("collaborate", "t", broken, context())


# ---- what broke once -------------------------------------------------------------------------------------------------


def test_refining_keeps_a_right_answer(runtime: Runtime) -> None:
    row = {
        "problem_description": "Multiply it. The signature of the function is: def f(x)", "ground_truth": PROGRAM,
        "test_cases": {"a": "f(2)"}, "facts": [],
    }  # fmt: skip
    task = store_tasks([task_of(row, "x")], "bare", runtime.settings)[0]
    wrong_tests = "assert f(1) == 4"
    trials = (wrong_tests, "Multiply by four.", "def f(x): return x * 3", "Or by three.", "def f(x): return x * 2")
    made = context(RIGHT, *trials, refine=True)
    assert runtime.run("collaborate", "t", task, made)["score"] == 1.0


def test_a_reply_without_text_is_never_sent_back_empty(runtime: Runtime, own: str) -> None:
    made = context("", " ", "How much?", RIGHT)
    state = runtime.run("collaborate", "t", own, made)
    prompts: list[list[BaseMessage]] = made.model.prompts  # type: ignore[union-attr]
    assert all(message.text.strip() for prompt in prompts for message in prompt)
    assert "Your reply was empty" in prompts[1][-1].text
    assert [t["content"] for t in state["turns"] if t["role"] == "agent"][:2] == ["…", "How much?"]
    assert state["score"] == 1.0
    silent = runtime.run("collaborate", "u", own, context("", "", max_turns=1))
    assert (silent["answer"], silent["score"]) == ("", 0.0)


def test_only_the_tools_that_were_offered_run(runtime: Runtime, own: str) -> None:
    made = context(call("send_message", message="How much?"), "How much?", RIGHT, memory=True, agent="ada")
    state = runtime.run("collaborate", "t", own, made)
    prompts: list[list[BaseMessage]] = made.model.prompts  # type: ignore[union-attr]
    assert "There is no tool 'send_message'" in prompts[1][-1].text
    assert state["turns"][0]["content"] == "How much?"
