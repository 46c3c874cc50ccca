"""The benchmark of answers, on a fake endpoint that answers some messages, and fails at one."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation import answered
from evaluation.answered import conversation
from tests.evaluation.test_evaluation import evaluate
from tests.models.fake_openai import Turn, chunk, fake_openai, says


def sends(message: str, prompt: int, cached: int) -> Turn:
    """A turn that sends a message, with usage."""
    usage = {"prompt_tokens": prompt, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": cached}}
    return {"chunks": [*says(message)["chunks"][:-1], {**chunk({}), "choices": [], "usage": usage}]}


def test_conversations_are_the_same_for_a_seed_and_ask_what_was_told() -> None:
    for seed in range(50):
        turns, values = conversation(seed)
        assert conversation(seed) == (turns, values)
        assert len(turns) == 6
        for n, turn in enumerate(turns):
            if turn.expected:
                assert any(turn.expected in earlier.text for earlier in turns[:n])


def test_what_was_answered_right_kept_and_cached_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, _ = conversation(7)
    with fake_openai() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        right = next(turn.expected for turn in turns if turn.expected)
        keep = {"name": "archival_memory_insert", "arguments": json.dumps({"content": turns[0].text})}
        fake.turns = [
            {"chunks": [chunk({"tool_calls": [{"id": "k", "index": 0, "function": keep}]}), chunk({}, "tool_calls")]},
            sends("Hello.", 1_300, 0),
            {"status": 401, "body": "{}"},
            sends("Good.", 1_500, 1_400),
            sends(f"It is {right}.", 1_600, 1_500),
            sends("Good.", 1_700, 1_600),
            sends("I do not know.", 1_800, 1_700),
        ]
        out = tmp_path / "answered.json"
        result = evaluate(
            "answered", "--model", "fake", "--first", "7", "--conversations", "1", "--calls", "native", out=out
        )
        assert not fake.turns
    way: dict[str, Any] = result["ways"]["native"]
    assert way["answered"]["mean"] == pytest.approx(5 / 6)
    meter = result["meter"]["native"]
    assert meter["thinking"]["calls"] >= 6
    assert meter["tools"]["calls"] >= 5
    assert all(meter["thinking"][each] > 0 for each in ("read", "written", "milliseconds", "bytes"))
    assert way["right"]["mean"] == 0.5
    assert way["kept"]["mean"] == pytest.approx(1 / 3)
    assert way["cached"]["mean"] == pytest.approx(6_200 / 7_900)
    assert way["sound calls"]["mean"] == 1.0


def test_a_long_conversation_is_several_in_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_openai() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        fake.turns = [says("Noted.") for _ in range(12)]
        arguments = ("--model", "fake", "--conversations", "1", "--chain", "2", "--calls", "native")
        result = evaluate("answered", *arguments, out=tmp_path / "chain.json")
        assert not fake.turns
    assert result["ways"]["native"]["answered"]["n"] == 12


def test_no_way_is_told_of_more_than_it_holds() -> None:
    row = {
        "answered": [True],
        "delivered": [False],
        "right": [],
        "kept": [True],
        "seconds": [1.0],
        "read": [0],
        "cached": [0],
    }
    told = answered.summary([{**row, "calls": 0, "sound": 0}])
    assert told["answered"]["mean"] == 1.0
    assert told["cached"]["n"] == told["sound calls"]["n"] == 0
