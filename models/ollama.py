"""Ollama by its own API: its OpenAI endpoint takes no context length, and cuts what is longer than its default without a word.

A request of the OpenAI API goes out as one of Ollama's, and each line of the answer comes back as a piece of the OpenAI API's.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from models.roles import Wire
from models.served import read_json

DATA_URL = re.compile(r"data:[^,]*;base64,")


@dataclass(frozen=True)
class Ollama:
    """A model that Ollama serves."""

    url: str
    """Of its `/api/chat`."""
    context: int
    """Most tokens that the model can take."""
    configured: int
    """The context that its Modelfile sets; 0 for none."""

    def request(self, body: dict[str, Any], context: int) -> dict[str, Any]:
        """The request, with a context of that many tokens if the model can take it."""
        options = {
            "num_ctx": min(self.context, max(self.configured, context)),
            "num_predict": body.get("max_tokens"),
            "temperature": body.get("temperature"),
        }
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        asked = {
            "model": body["model"], "messages": [_message(m) for m in body["messages"]], "stream": True,
            "options": {name: value for name, value in options.items() if value is not None},
            "tools": body.get("tools"), "format": schema,
        }  # fmt: skip
        return {name: value for name, value in asked.items() if value is not None}


def find_ollama(url: str, key: str, model: str) -> Ollama | None:
    """The model at an OpenAI-compatible endpoint, if Ollama serves it and says how long its context can be.

    Raises ConnectionError where nothing answers.
    """
    root = re.sub(r"/v1/?$", "", url)
    if root == url:
        return None
    is_there, version = read_json(f"{root}/api/version", key)
    if not is_there:
        raise ConnectionError(f"Nothing answers at {root}.")
    if "version" not in _dict(version):
        return None
    shown = _dict(read_json(f"{root}/api/show", key, {"model": model})[1])
    lengths = [n for name, n in _dict(shown.get("model_info")).items() if name.endswith(".context_length")]
    if not lengths or type(lengths[0]) is not int:
        return None
    configured = re.search(r"num_ctx\s+(\d+)", str(shown.get("parameters")))
    return Ollama(f"{root}/api/chat", lengths[0], int(configured[1]) if configured else 0)


def piece_of(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the answer as a piece of a stream of the OpenAI API; errors stay as they are."""
    if "message" not in line:
        return line
    reason = line.get("done_reason") or ("stop" if line.get("done") else None)
    piece: dict[str, Any] = {"choices": [{"delta": line["message"], "finish_reason": reason}]}
    if line.get("done"):
        piece["usage"] = {"prompt_tokens": line.get("prompt_eval_count"), "completion_tokens": line.get("eval_count")}
    return piece


def _message(message: Wire) -> Wire:
    """A message with its pictures apart, its calls' arguments as objects, and a result by the tool's name."""
    content, role = message["content"], message["role"]
    parts: list[dict[str, Any]] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    told: Wire = {"role": role, "content": "\n".join(part["text"] for part in parts if part["type"] == "text")}
    if pictures := [DATA_URL.sub("", part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]:
        told["images"] = pictures
    if calls := message.get("tool_calls"):
        told["tool_calls"] = [{"function": {**c["function"], "arguments": _arguments(c)}} for c in calls]
    if role == "tool":
        told["tool_name"] = message["name"]
    return told


def _arguments(call: dict[str, Any]) -> dict[str, Any]:
    return _dict(json.loads(call["function"]["arguments"]))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
