"""Properties of the MemGPT machine over random streams of events, calls, failures and window sizes."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from evaluation.locomo import prompt_tokens
from graphs.memgpt import Context, State, system_alert, timed_event, user_message
from memory.recall import Recall
from models.scripted import PolicyModel, calls, check_prompt
from nodes.memgpt.evict import SUMMARISE
from nodes.memgpt.state import SMALLEST_WINDOW
from nodes.memgpt.window import TOOL_TOKENS, exchanges, measure, render_prompt
from runtime import open_runtime
from settings import Settings
from tests.conftest import WordEmbedder

words = st.sampled_from(["tea", "a long walk by the river", "ünïcödé 今天", "0d7ba717-e034-410e", '"}],{', "\u202eabc"])
texts = st.builds(lambda w, n: f"{w} " * n, words, st.sampled_from([1, 3, 30, 200, 2_000]))
one_call: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.just("send_message"), st.fixed_dictionaries({"message": texts})),
    st.tuples(
        st.just("working_context_append"),
        st.fixed_dictionaries(
            {"block": st.sampled_from(["human", "soul"]), "content": texts, "request_heartbeat": st.booleans()}
        ),
    ),
    st.tuples(
        st.sampled_from(["recall_memory_search", "recall_memory_search_ignore_case", "archival_memory_search"]),
        st.fixed_dictionaries(
            {"query": words, "page": st.sampled_from([0, 0, 1, -1, "x"]), "request_heartbeat": st.booleans()}
        ),
    ),
    st.tuples(st.just("archival_memory_insert"), st.fixed_dictionaries({"content": texts})),
    st.tuples(st.sampled_from(["nonsense", "send_message"]), st.just({})),
)
reply = st.one_of(
    st.builds(
        lambda c, t: calls(*c, text=t), st.lists(one_call, min_size=1, max_size=4), st.one_of(st.just(""), texts)
    ),
    st.builds(AIMessage, texts),
    st.just(AIMessage("")),
    st.just(ConnectionError("down")),
    st.builds(
        lambda t: AIMessage("", invalid_tool_calls=[{"name": "send_message", "args": t, "id": "b", "error": ""}]), texts
    ),
)
event = st.one_of(
    st.builds(user_message, texts), st.builds(timed_event, texts), st.builds(system_alert, texts), st.just(None)
)
windows = st.sampled_from([SMALLEST_WINDOW, 3_000, 4_096, 8_192])
counted = st.sampled_from([None, 0.7, 1.0, 1.3])


@pytest.fixture(scope="module", autouse=True)
def instant_embedder() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memory.store.open_embedder", lambda settings: WordEmbedder())
        yield


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate], print_blob=False, derandomize=True)
@given(
    stream=st.lists(st.tuples(event, st.lists(reply, max_size=4)), min_size=1, max_size=10),
    window=windows,
    count=counted,
)
def test_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, stream: Any, window: int, count: float | None
) -> None:
    """No block split, no prompt over the window or invalid, everything on record once, one warning a period, one summary."""
    window = max(window, 4_096) if count and count > 1 else window  # the least window is for an exact estimate
    pressures: list[int] = []
    seen: dict[str, str] = {}
    script: list[Any] = []
    flushes = 0
    slack = 1.0 if count is None else count

    def policy(prompt: list[BaseMessage]) -> AIMessage | Exception:
        nonlocal flushes
        check_prompt(prompt)
        size = prompt_tokens(prompt)
        if prompt[0].text == SUMMARISE:
            flushes += 1
            assert size <= window
            return AIMessage("A summary of what was said, " * 3)
        size += TOOL_TOKENS
        # The first call cannot know how the model counts; from then on its own figure is what must fit.
        assert size * (slack if seen.get("calibrated") else 1.0) <= window
        assert prompt[0].text.count("Summary of what left the window") <= 1
        for message in prompt:
            alerts = isinstance(message, HumanMessage) and json.loads(message.text)["type"] == "memory_pressure"
            if alerts and str(message.id) not in seen:
                seen[str(message.id)] = "pressure"
                pressures.append(flushes)
        answer = script.pop(0) if script else AIMessage("I rest.")
        if isinstance(answer, AIMessage) and count is not None:
            seen["calibrated"] = "yes"
            answer = answer.model_copy(
                update={"usage_metadata": {"input_tokens": int(size * count), "output_tokens": 1, "total_tokens": 1}}
            )
        return answer

    home: Path = tmp_path_factory.mktemp("home")
    with open_runtime(Settings(home=home)) as runtime:
        context = Context(agent="ada", model=PolicyModel(policy=policy), window=window, max_steps=6)
        told: list[str] = []
        for happening, replies in stream:
            script[:] = replies
            if happening is None and not runtime.graphs["memgpt"].get_state(runtime.config("memgpt", "t")).next:
                continue
            if happening is not None:
                happening = happening.model_copy(deep=True)
                told.append(str(happening.content))
            try:
                state = cast(State, runtime.run("memgpt", "t", happening, context))
            except ConnectionError:
                continue
            for block in exchanges(state["messages"]):
                first, *rest = block
                if isinstance(first, AIMessage):
                    assert [m.tool_call_id for m in rest if isinstance(m, ToolMessage)] == [
                        c["id"] for c in first.tool_calls
                    ]
                else:
                    assert not isinstance(first, ToolMessage)
                    assert not rest
            assert len(state["working_context"]["human"]) <= context.block_limit
            assert render_prompt(state, context) == render_prompt(state, context)
            assert measure(state, context).summary <= window * 0.2

        assert len(pressures) == len(set(pressures)), "one warning between two flushes"
        recall = Recall(runtime.store, "ada")
        log = runtime.store.find(recall.namespace, page_size=1_000).items
        events = [
            i.value["text"] for i in log if i.value["role"] in ("user", "alert") and i.value["author"] != "system"
        ]
        events += [i.value["text"] for i in log if i.value["author"] == "system"]
        for text in told:
            assert events.count(text) == told.count(text), "every event is on record exactly as often as it came"
        sequences = [i.value["sequence"] for i in log]
        assert sequences == sorted(sequences)
        assert len(set(sequences)) == len(sequences)
        results = {i.key for i in log if i.value["role"] == "tool_result"}
        assert all(f"{i.key.removesuffix(':call')}:result" in results for i in log if i.key.endswith(":call"))
        for text in {i.value["text"] for i in log if i.value["role"] in ("user", "assistant")}:
            assert recall.search(text).total >= 1, "whatever has left the window is found"
