"""Verdicts in the text of a reply, and text to be judged between marks that it cannot close."""

import hashlib
import re
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, ValidationError, field_validator

from models.notations import objects_in
from nodes.replies import reply_to
from text import clean_text

NUMBER = r"(\d+(?:[.,]\d+)?)\s*(%|/\s*\d+|out of \d+)?"
SCORE = re.compile(
    rf"^\W*(?:(?:my|the|overall|final)\W+)*(?:score|rating|verdict)\b[^\d\n]{{0,20}}{NUMBER}"
    rf"|^\W*I(?: would|'d)? (?:give|rate|score)\b[^\d\n]{{0,60}}?{NUMBER}",
    re.I | re.M,
)
"""How a line begins that gives a score; a number later in a sentence may be the answer's own praise."""
UNREADABLE = -1.0
"""The score of a verdict that could not be read: that is no 0."""
MOST_CRITICISM = 4_000  # characters


def fenced_off(text: str) -> str:
    """Text to be judged, between marks that it cannot close."""
    mark = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
    return f"<judged-{mark}>\n{text}\n</judged-{mark}>"


class Verdict(BaseModel):
    """Give your verdict."""

    score: float = Field(description="From 0, useless, to 10, nothing left to improve", ge=0, le=10)
    criticism: str = Field(description="What is wrong or missing, point by point, and how to mend it")

    @field_validator("score", mode="before")
    @classmethod
    def _of_ten(cls, value: Any) -> Any:
        found = re.fullmatch(NUMBER, str(value).strip())
        return of_ten(found[1], found[2]) if found and not isinstance(value, bool) else value

    @field_validator("criticism", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value


VERDICT = convert_to_openai_tool(Verdict)
VERDICT["function"]["name"] = "give_verdict"
NO_SCORE = "Call give_verdict with your score from 0 to 10 and your criticism."


def of_ten(number: str, scale: str | None) -> float:
    """A score out of 10: a share of a hundred, or of any other whole, is brought to it."""
    value = float(number.replace(",", "."))
    most = 100.0 if scale == "%" else float(re.sub(r"\D", "", scale or "") or (100 if value > 10 else 10))
    return 10 * value / most if most else value


def verdict_of(
    prompt: list[BaseMessage], model: str | BaseChatModel, runtime: Runtime[Any], tags: list[str]
) -> tuple[float, str]:
    """A model's score from 0 to 1 and its criticism. Asked twice for a score; without one it is UNREADABLE, and the text stands."""
    text = ""
    for attempt in range(2):
        asked = prompt if not attempt else [*prompt, HumanMessage(NO_SCORE)]
        reply = reply_to(asked, model, runtime, [VERDICT], tags)
        text = clean_text(reply.text).strip() or text
        for given in [*(call["args"] for call in reply.calls), *objects_in(text)]:
            try:
                verdict = Verdict.model_validate({"criticism": given.get("critique", text), **given})
            except ValidationError:
                continue
            return verdict.score / 10, clean_text(verdict.criticism).strip()[:MOST_CRITICISM]
        if found := SCORE.findall(text):  # a model that writes its verdict instead of calling it
            number, scale = next((n, s) for n, s in zip(found[-1][::2], found[-1][1::2], strict=True) if n)
            return min(of_ten(number, scale), 10.0) / 10, text[:MOST_CRITICISM]
    return UNREADABLE, f"(The verdict could not be read.) {text[:MOST_CRITICISM]}".strip()
