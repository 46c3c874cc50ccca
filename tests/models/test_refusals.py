"""What endpoints say when they refuse: the reason reaches the person, secrets do not, and what cannot help is not tried again."""

import json
from typing import Any

import pytest

from models.refusals import ContextOverflow, ModelFailed, TransientError, reason_in, refusal

KEY = "sk-very-secret-key"
LASTING: list[tuple[int, Any, str]] = [
    (400, {"error": "the tool call id must be short"}, "the tool call id must be short"),
    (400, "plain text reason", "plain text reason"),
    (
        400,
        [{"error": {"code": 400, "message": "Please use a valid role", "status": "INVALID_ARGUMENT"}}],
        "Please use a valid role",
    ),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "body.messages: field required"),
    (422, {"detail": "tools are not supported"}, "tools are not supported"),
    (
        404,
        {"error": {"message": "No endpoints found that support tool use"}},
        "No endpoints found that support tool use",
    ),
    (404, {}, "usually ends in /v1"),
    (404, "<html><head><title>404</title></head><body><h1>Not Found</h1></body></html>", "Not Found"),
    (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, "OPENAI_API_KEY"),
    (403, {"message": "Forbidden for gsk_abcdefghijkl"}, "Forbidden for …"),
    (
        429,
        {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
        "exceeded your current quota",
    ),
    (402, {"error": {"message": "Insufficient credits"}}, "Insufficient credits"),
    (0, {"error": {"message": "Insufficient credits", "code": 402}}, "HTTP 402"),
    (200, {"error": {"message": "This model needs a payment method", "code": 429}}, "payment method"),
    (
        500,
        {"error": {"code": 500, "message": "Jinja Exception: Conversation roles must alternate user/assistant"}},
        "must alternate",
    ),
    (400, {"message": "max_tokens is too large: 9000"}, "max_tokens is too large"),
    (400, {"error": {"message": ["first", {"msg": "second"}]}}, "first; second"),
    (400, "", "no reason given"),
]
PASSING: list[tuple[int, Any]] = [
    (429, {"error": {"message": "Rate limit reached"}}), (500, ""), (502, "<html><body>Bad Gateway</body></html>"), (503, "{}"),
    (529, {"error": {"type": "overloaded_error"}}), (408, ""), (0, {"error": {"message": "upstream connect error"}}),
    (400, {"error": {"message": "Failed to call a function.", "code": "tool_use_failed"}}), (0, {"error": "please try again later"}),
]  # fmt: skip
OVERFLOWS: list[tuple[int, Any, int]] = [
    (400, {"error": "context window exceeded: 5029 > 4096"}, 4096),
    (
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the messages, 1000 in the completion)."
            }
        },
        8192,
    ),
    (
        400,
        {"error": {"message": "the request exceeds the available context size (512 tokens), try increasing it"}},
        512,
    ),
    (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}, 200000),
    (500, {"error": {"message": "the request exceeds the available context size. try increasing the context size"}}, 0),
    (422, {"detail": "Input is too long: `inputs` tokens + `max_new_tokens` must be <= 4,096. Given: 5,000"}, 4096),
]


@pytest.mark.parametrize(("status", "body", "told"), LASTING)
@pytest.mark.parametrize("as_text", [False, True])
def test_a_lasting_refusal_tells_its_reason(status: int, body: Any, told: str, as_text: bool) -> None:
    error = refusal(status, json.dumps(body) if as_text and not isinstance(body, str) else body, KEY)
    assert type(error) is ModelFailed
    assert told in str(error)
    assert KEY not in str(error)
    assert "gsk_" not in str(error)


@pytest.mark.parametrize(("status", "body"), PASSING)
def test_what_passes_is_tried_again(status: int, body: Any) -> None:
    assert isinstance(refusal(status, body, KEY), TransientError)


@pytest.mark.parametrize(("status", "body", "limit"), OVERFLOWS)
def test_a_prompt_that_is_too_long_is_told_apart(status: int, body: Any, limit: int) -> None:
    error = refusal(status, body, KEY)
    assert isinstance(error, ContextOverflow)
    assert error.limit == limit


def test_a_pause_that_is_asked_for_is_kept_within_a_minute() -> None:
    waits = [refusal(429, "", "", {"retry-after": after}) for after in ("7", "6000", "Wed, 21 Oct 2026 07:28:00 GMT")]
    assert [error.after for error in waits if isinstance(error, TransientError)] == [7.0, 60.0, 0.0]


def test_no_body_breaks_the_reading_of_it() -> None:
    for body in (
        "{",
        "[[[[]]]]",
        "null",
        "3",
        '"x"',
        "{}",
        '{"error": {}}',
        '{"error": {"message": {"error": "deep"}}}',
        "\x00",
    ):
        assert isinstance(reason_in(body), str)
