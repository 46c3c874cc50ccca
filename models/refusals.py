"""What an endpoint says when it gives no reply: its reason for the person, and whether asking again can help."""

import json
import re
from collections.abc import Mapping
from typing import Any

from bs4 import BeautifulSoup

KEPT = 400  # characters of a reason
SECRETS = re.compile(r"\b(?:sk|pk|key|gsk|hf|xai)[-_][\w*-]{6,}|Bearer\s+\S+|(?<=api_key=)[^\s&\"']+", re.I)
LASTING = re.compile(
    r"quota|billing|credit|insufficient|payment|balance|template|jinja|raise_exception|must alternate", re.I
)
"""In an error that is else worth a retry: asking again changes nothing."""
PASSING = re.compile(r"tool_use_failed|failed to call a function|failed to parse tool|overloaded|try again", re.I)
"""In an error that is else lasting: another sample may go well."""
PASSING_STATUS = frozenset({0, 408, 409, 425, 429, 500, 502, 503, 504, *range(520, 530)})
TOO_LONG = re.compile(
    r"context|(?:prompt|input|request|message)s?\b.{0,30} too (?:long|large)|too many (?:input )?tokens|n_ctx|num_ctx|token limit",
    re.I,
)
LIMIT = re.compile(
    r"(?:context (?:length|window|size)[^\d>]{0,25}|maximum[^\d>]{0,40}|n_ctx[^\d>]{0,10}|limit[^\d>]{0,20}|>\s*)(\d[\d,]{2,})",
    re.I,
)
ADVICE = {
    401: "The key is missing or wrong: set OPENAI_API_KEY.",
    403: "This key may not use the model: set OPENAI_API_KEY, or PALIMPSEST_MODEL to another model.",
    404: "If there is no such model or path: check OPENAI_BASE_URL (it usually ends in /v1) and PALIMPSEST_MODEL.",
}


class ModelFailed(RuntimeError):
    """The model's endpoint gave no usable reply; the message says why and what to do. It never holds the key."""

    def __init__(self, message: str, status: int = 0) -> None:
        """`status`: of HTTP, where the endpoint answered with one."""
        super().__init__(message)
        self.status = status


class CutOff(ModelFailed):
    """The reply was cut off, at its bound of tokens or where it went round in circles: half a reply, which is never used."""


class ContextOverflow(ModelFailed):
    """The prompt is longer than the model's context, of `limit` tokens; 0 where the endpoint does not say."""

    def __init__(self, message: str, status: int, limit: int) -> None:
        super().__init__(message, status)
        self.limit = limit


class TransientError(Exception):
    """An error worth retrying. `after`: seconds that the endpoint asks to wait."""

    def __init__(self, reason: str, after: float = 0.0, status: int = 0) -> None:
        super().__init__(reason)
        self.after = after
        self.status = status


def refusal(status: int, body: Any, key: str = "", headers: Mapping[str, str] | None = None) -> Exception:
    """The error to raise for an answer of that status, or for an error inside a stream (status 0): `body` is text or JSON."""
    reason = without_secrets(reason_in(body), key)
    status = status if status >= 400 else _status_in(body)
    told = f"HTTP {status}" if status else "an error"
    if status in (0, 400, 413, 422, 500) and TOO_LONG.search(reason) and (limit := _limit_in(reason)) is not None:
        return ContextOverflow(f"The prompt is longer than the model's context ({told}): {reason}", status, limit)
    passing = PASSING.search(reason) or (status in PASSING_STATUS and not LASTING.search(reason))
    if passing:
        return TransientError(f"{told}{f': {reason}' if reason else ''}", _retry_after(headers or {}), status)
    advice = ADVICE.get(status, "")
    said = reason or ("" if advice else "no reason given")
    return ModelFailed(f"The model's endpoint refused the request ({told}): {f'{said} {advice}'.strip()}", status)


def reason_in(body: Any) -> str:
    """The reason that an error's body gives: in any of the places where servers put it, or its text."""
    if isinstance(body, str):
        try:
            parsed = json.loads(body)
        except ValueError:
            return _shown(body)
        return reason_in(parsed) if not isinstance(parsed, str) else parsed[:KEPT]
    if isinstance(body, list):
        return "; ".join(filter(None, map(reason_in, body)))[:KEPT]
    if isinstance(body, dict):
        for name in ("error", "message", "detail", "msg", "errors", "error_message", "reason", "title"):
            if body.get(name):
                found = reason_in(body[name])
                where = ".".join(map(str, body["loc"])) if isinstance(body.get("loc"), list) else ""
                code = body.get("code") if name == "message" and isinstance(body.get("code"), str) else ""
                return f"{where + ': ' if where else ''}{found}{f' ({code})' if code and code not in found else ''}"[
                    :KEPT
                ]
    return ""


def without_secrets(text: str, key: str) -> str:
    """The text without the endpoint's key, or anything else that looks like one."""
    if len(key) > 3:
        text = text.replace(key, "…")
    return SECRETS.sub("…", text)


def _shown(text: str) -> str:
    if "<" in text and re.search(r"<(?:!doctype|html|body|h1)\b", text, re.I):
        text = BeautifulSoup(text[:20_000], "html.parser").get_text(" ")
    return " ".join(text.split())[:KEPT]


def _status_in(body: Any) -> int:
    """The status that an error names inside a stream or a body."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return 0
    error = body.get("error", body) if isinstance(body, dict) else {}
    found = [str(error.get(name)) for name in ("code", "status", "status_code")] if isinstance(error, dict) else []
    return next((int(value) for value in found if value.isdecimal() and 400 <= int(value) < 600), 0)


def _limit_in(reason: str) -> int | None:
    """The context's length that a reason names; 0 where it names none; None if it is of something else."""
    numbers = [int(n.replace(",", "")) for n in LIMIT.findall(reason) or re.findall(r"\d[\d,]{2,}", reason)]
    numbers = [n for n in numbers if n >= 256]
    return min(numbers) if numbers else 0 if "context" in reason.lower() else None


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return min(60.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0  # a date: the growing pauses do
