"""Programs and verdicts in the text of a reply: taken out of fences and calls, whatever a model wraps them in."""

import re
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, ValidationError

from memory.documents import clean_text
from nodes.replies import reply_to

FENCE = re.compile(
    r"^(?P<mark>`{3,}|~{3,})[ \t]*(?P<tag>[\w+#.-]*)[^\n]*\n(?P<code>.*?)(?:^(?P=mark)`*[ \t]*$|\Z)", re.S | re.M
)
SCORE = re.compile(r"(?P<given>\d+(?:\.\d+)?)\s*(?:/|out of)\s*10\b|score\D{0,12}(?P<said>\d+(?:\.\d+)?)", re.I)


def program_in(text: str) -> str:
    """The program of a reply: its last fenced block that is Python or untagged, else its longest, else all of it."""
    blocks = [(m["tag"].lower(), m["code"]) for m in FENCE.finditer(text)]
    if not blocks:
        return text.strip() + "\n"
    python = [code for tag, code in blocks if tag in ("", "py", "python", "python3")]
    return python[-1] if python else max((code for _, code in blocks), key=len)


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
        for call in reply.tool_calls:
            try:
                verdict = Verdict.model_validate(call["args"])
            except ValidationError:
                continue
            return verdict.score / 10, clean_text(verdict.criticism).strip()
        found = SCORE.search(text)
        if found:  # a model that writes its verdict instead of calling it
            given = float(cast(str, found["given"] or found["said"]))
            return min(given, 10.0) / 10, text
    return 0.0, text or "(no criticism)"
