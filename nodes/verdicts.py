"""Verdicts in the text of a reply, and text to be judged between marks that it cannot close."""

import hashlib
import re
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, ValidationError

from nodes.replies import reply_to
from text import clean_text

SCORE = re.compile(
    r"^\W*(?:(?:overall|final)\W+)?score\W{1,6}(\d+(?:\.\d+)?)\s*(?:(?:/|out of)\s*10)?\W*$", re.I | re.M
)
"""A line that is nothing but a score; a number in a sentence may be the answer's own praise."""
MOST_CRITICISM = 4_000  # characters


def fenced_off(text: str) -> str:
    """Text to be judged, between marks that it cannot close."""
    mark = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"<judged-{mark}>\n{text}\n</judged-{mark}>"


class Verdict(BaseModel):
    """Give your verdict."""

    score: float = Field(description="From 0, useless, to 10, nothing left to improve", ge=0, le=10)
    criticism: str = Field(description="What is wrong or missing, point by point, and how to mend it")


VERDICT = convert_to_openai_tool(Verdict)
VERDICT["function"]["name"] = "give_verdict"
NO_SCORE = "Call give_verdict with your score from 0 to 10 and your criticism."


def verdict_of(
    prompt: list[BaseMessage], model: str | BaseChatModel, runtime: Runtime[Any], tags: list[str]
) -> tuple[float, str]:
    """A model's score from 0 to 1 and its criticism. Asked twice for a score; without one it is 0, and the text stands."""
    text = ""
    for attempt in range(2):
        asked = prompt if not attempt else [*prompt, HumanMessage(NO_SCORE)]
        reply = reply_to(asked, model, runtime, [VERDICT], tags)
        text = clean_text(reply.text).strip() or text
        for call in reply.calls:
            try:
                verdict = Verdict.model_validate(call["args"])
            except ValidationError:
                continue
            return verdict.score / 10, clean_text(verdict.criticism).strip()[:MOST_CRITICISM]
        if found := SCORE.findall(text):  # a model that writes its verdict instead of calling it
            return min(float(found[-1]), 10.0) / 10, text[:MOST_CRITICISM]
    return 0.0, text[:MOST_CRITICISM] or "(no criticism)"
