"""What a turn takes is counted by what was done, and its caps end it with what was done so far."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage

from graphs.memgpt import Context
from memory.archival import Archival
from models.scripted import PolicyModel, call
from nodes.memgpt.evict import SUMMARISE
from nodes.memgpt.meter import NOTHING, cap_met, with_work
from nodes.memgpt.state import Operation, State
from runtime import Runtime
from tests.graphs.test_memgpt import play


def notes(text: str = "A note.") -> AIMessage:
    return call("archival_memory_insert", content=text, request_heartbeat=True)


def busy(prompt: list[BaseMessage]) -> AIMessage:
    """Never ends by itself."""
    return notes(f"Note {len(prompt)} of {time.monotonic_ns()}.")


def test_each_kind_of_work_is_counted(runtime: Runtime) -> None:
    state, model = play(runtime, notes(), call("send_message", message="Noted."), text="Hello.")
    meter = state["meter"]
    assert (meter["thinking"]["calls"], meter["tools"]["calls"]) == (2, 2)
    sent = sum(len("".join(m.text for m in prompt).encode()) for prompt in model.prompts)
    assert meter["thinking"]["bytes"] == sent
    assert meter["thinking"]["read"] > 1_000
    assert meter["thinking"]["written"] > 0
    assert meter["tools"]["bytes"] > 0
    assert all(each["milliseconds"] >= 0 for each in meter.values())
    again, _ = play(runtime, call("send_message", message="Ok."), text="And now?")
    assert again["meter"]["thinking"]["calls"] == 1, "each turn begins anew"


SOLVE = call("solve_carefully", task="What is 6 times 7?", method="react", request_heartbeat=True)


def test_what_a_machine_inside_takes_is_counted(runtime: Runtime) -> None:
    inside = [call("calculator", expression="6 * 7"), AIMessage("42")]
    state, _ = play(runtime, SOLVE, *inside, call("send_message", message="42."), text="What is 6 times 7?")
    meter = state["meter"]
    assert (meter["thinking"]["calls"], meter["solving"]["calls"], meter["tools"]["calls"]) == (2, 2, 2)
    assert meter["solving"]["read"] > 100
    assert meter["solving"]["milliseconds"] > 0
    assert meter["tools"]["milliseconds"] >= 0


@pytest.mark.parametrize(
    ("cap", "stop", "calls"),
    [({"max_calls": 3}, "call_cap", 2), ({"max_tokens": 2_600}, "token_cap", 1), ({"max_seconds": 1.0}, "time_cap", 1)],
)
def test_a_cap_ends_a_machine_inside(runtime: Runtime, cap: dict[str, Any], stop: str, calls: int) -> None:
    seen = 0

    def never_ends(prompt: list[BaseMessage]) -> AIMessage:
        nonlocal seen
        if "Solve the task" not in prompt[0].text:
            return SOLVE
        seen += 1
        time.sleep(0.7 if "max_seconds" in cap else 0)
        return call("calculator", expression=f"{seen} + 1" + " " * (2_000 if "max_tokens" in cap else 0))

    context = Context(agent="ada", model=PolicyModel(policy=never_ends), **cap)
    state = runtime.run("memgpt", "t", "What is 6 times 7?", context)
    assert state["stop"] == stop
    assert "It was stopped: the turn has met its cap of" in state["messages"][-1].text
    assert seen >= calls
    assert state["meter"]["solving"]["calls"] == seen


def test_a_flush_counts_as_a_summary(runtime: Runtime) -> None:
    def talks(prompt: list[BaseMessage]) -> AIMessage:
        return (
            AIMessage("We spoke.") if prompt[0].text == SUMMARISE else call("send_message", message="And more. " * 40)
        )

    context = Context(agent="ada", model=PolicyModel(policy=talks), window=2_800)
    for _ in range(12):
        state = runtime.run("memgpt", "t", "Of other things, " * 30, context)
        if "summary" in state["meter"]:
            break
    assert state["meter"]["summary"]["calls"] == 1
    assert state["meter"]["summary"]["read"] > 0


@pytest.mark.parametrize(
    ("caps", "stop", "thoughts"),
    [({"max_calls": 3}, "call_cap", 3), ({"max_tokens": 9_000}, "token_cap", None)],
)  # fmt: skip
def test_a_cap_ends_the_turn_with_what_was_done(
    runtime: Runtime, caps: dict[str, Any], stop: str, thoughts: int | None
) -> None:
    context = Context(agent="ada", model=PolicyModel(policy=busy), max_steps=50, max_repeats=50, **caps)
    state = runtime.run("memgpt", "t", "Hello.", context)
    assert state["stop"] == stop
    done = state["meter"].get("thinking", NOTHING)
    assert thoughts is None or done["calls"] == thoughts
    if "max_tokens" in caps:
        assert 0 < done["read"] + done["written"] < caps["max_tokens"]
    assert Archival(runtime.store, "ada").count() == done["calls"]
    state, _ = play(runtime, call("send_message", message="Ok."), text="Go on.")
    assert (state["stop"], state["replies"]) == ("waiting", ["Ok."])


def test_a_thought_that_takes_too_long_is_broken_off(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.refusals import ModelFailed

    def slow(prompt: list[BaseMessage]) -> AIMessage:
        time.sleep(0.3)
        raise ModelFailed("It took longer than it may.")

    context = Context(agent="ada", model=PolicyModel(policy=slow), max_seconds=0.2)
    state = runtime.run("memgpt", "t", "Hello.", context)
    assert (state["stop"], state["meter"]["thinking"]["calls"]) == ("time_cap", 1)
    with pytest.raises(ModelFailed):
        runtime.run("memgpt", "u", "Hello.", Context(agent="ada", model=PolicyModel(policy=slow), max_seconds=60))


@pytest.mark.parametrize("wrong", [{"max_tokens": -1}, {"max_calls": -1}, {"max_seconds": -0.5}])
def test_a_cap_below_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="0 for no cap"):
        Context(agent="ada", **wrong)


def test_at_a_cap_the_window_is_flushed_without_the_model(runtime: Runtime) -> None:
    def talks(prompt: list[BaseMessage]) -> AIMessage:
        raise AssertionError("No call of the model fits under the cap.")

    context = Context(agent="ada", model=PolicyModel(policy=talks), window=2_800, max_tokens=300)
    for n in range(12):
        state = runtime.run("memgpt", "t", f"Number {n}. " + "Of other things, " * 30, context)
    assert state["evicted"]["total"] > 0
    assert state["summary"]


operations = st.builds(
    lambda *n: dict(zip(("calls", "read", "written", "milliseconds", "bytes"), n, strict=True)),
    *[st.integers(0, 10**6)] * 5,
)


@given(st.dictionaries(st.sampled_from(["thinking", "summary", "note", "tools", "recall"]), operations), st.data())
def test_a_higher_cap_ends_no_turn_that_a_lower_one_lets_go_on(
    meter: dict[str, Operation], data: st.DataObject
) -> None:
    state: State = {"meter": meter}
    low: dict[str, Any] = {
        name: data.draw(st.integers(1, 10**6)) for name in ("max_tokens", "max_calls", "max_seconds")
    }
    high: dict[str, Any] = {name: cap + data.draw(st.integers(0, 10**6)) for name, cap in low.items()}
    if not cap_met(state, Context(agent="ada", **low)):
        assert not cap_met(state, Context(agent="ada", **high))
    assert not cap_met(state, Context(agent="ada"))
    more = with_work(meter, "thinking", time.monotonic(), {**NOTHING, "calls": 1})
    if cap_met(state, Context(agent="ada", **low)):
        assert cap_met({"meter": more}, Context(agent="ada", **low))
