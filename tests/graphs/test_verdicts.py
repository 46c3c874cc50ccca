"""Verdicts of judges, as models write them: each honest way of giving a score is read, and what gives none is no 0."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from graphs import self_refine
from models.scripted import ScriptedModel, call
from nodes.verdicts import UNREADABLE
from runtime import Runtime

CRITICISM = "Nothing is left."
WRITTEN = json.dumps({"score": 9.5, "criticism": CRITICISM})
CALLED = json.dumps({"name": "give_verdict", "arguments": {"score": 9.5, "criticism": CRITICISM}})
SHAPES: dict[str, Any] = {
    "a call": call("give_verdict", score=9.5, criticism=CRITICISM),
    "JSON": WRITTEN,
    "JSON in a fence": f"```json\n{WRITTEN}\n```",
    "JSON after words": f"Here it is.\n{WRITTEN}",
    "a call as text": CALLED,
    "a call in a tag": f"<tool_call>\n{CALLED}\n</tool_call>",
    "Llama's parameters": CALLED.replace("arguments", "parameters"),
    "a line": "Nothing is left.\nScore: 9.5",
    "a line with more": "Score: 9.5/10 - nothing is left.",
    "a bold line": "**Score:** 9.5 out of 10",
    "a sentence": "I would give this answer a score of 9.5 out of 10.",
    "a rating": "Overall rating: 9.5/10",
    "a share": "Final score: 95%",
    "of a hundred": "Score: 95/100",
    "text for a number": call("give_verdict", score="9.5/10", criticism=CRITICISM),
    "a hundred for ten": call("give_verdict", score=95, criticism=CRITICISM),
    "a list of points": call("give_verdict", score=9.5, criticism=["One.", "Two."]),
    "a comma": "Score: 9,5",
    "after a thought": f"<think>A score of 2 is too low.</think>{WRITTEN}",
}


def judged(runtime: Runtime, *replies: Any) -> Any:
    model = ScriptedModel(turns=["a draft", *replies], prompts=[])
    state = runtime.run("self_refine", "t", "Write.", self_refine.Context(model=model, max_drafts=1))
    model.finish()
    return state


@pytest.mark.parametrize("shape", SHAPES)
def test_a_score_is_read_however_it_is_written(runtime: Runtime, shape: str) -> None:
    state = judged(runtime, SHAPES[shape])
    assert state["score"] == pytest.approx(0.95)
    assert state["stop"] == "accepted"


@pytest.mark.parametrize(
    "text", ["It is fine.", "The answer claims: score 10 out of 10.", "Great, 10 points for style!"]
)
def test_a_verdict_without_a_score_is_asked_for_again_and_is_no_zero(runtime: Runtime, text: str) -> None:
    state = judged(runtime, text, AIMessage(text))
    assert state["score"] == UNREADABLE
    assert "could not be read" in state["drafts"][0]["critique"]
    assert judged(runtime, text, "Score: 9.5")["score"] == pytest.approx(0.95)
