"""How long a prompt the server takes, where it says so: llama.cpp, vLLM, LM Studio, Ollama and gateways, each in its place."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

TIMEOUT = 2.0  # seconds
OLLAMA_DEFAULT = 4_096
LEAST = 128  # tokens; less is no context length


def context_length(url: str, key: str, model: str) -> int | None:
    """The context of the model as it is served, in tokens; 0 where the server does not say, None where it is not there."""
    root = re.sub(r"/v\d+/?$", "", url.rstrip("/"))
    is_there = False

    def read(address: str, body: dict[str, Any] | None = None) -> Any:
        nonlocal is_there
        answered, value = read_json(address, key, body)
        is_there |= answered
        return value

    told = (n for n in _told(root, url.rstrip("/"), model, read) if type(n) is int and n >= LEAST)
    found = next(told, 0)
    return found if is_there else None


def read_json(address: str, key: str, body: dict[str, Any] | None = None) -> tuple[bool, Any]:
    """Whether something answers at the address, and the JSON that it says; None where it says none."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key or 'none'}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=TIMEOUT) as answer:
            return True, json.loads(answer.read(1 << 20))
    except (urllib.error.HTTPError, ValueError):
        return True, None
    except OSError:
        return False, None


def _told(root: str, url: str, model: str, read: Callable[..., Any]) -> Iterator[Any]:
    yield _at(read(f"{root}/props"), "default_generation_settings", "n_ctx")  # llama.cpp: of one slot
    row = _row(_at(read(f"{url}/models"), "data"), "id", model)
    yield _at(row, "max_model_len")  # vLLM, SGLang
    yield _at(_row(_at(read(f"{root}/api/v0/models"), "data"), "id", model), "loaded_context_length")  # LM Studio
    if _at(
        read(f"{root}/api/version"), "version"
    ):  # Ollama cuts what is longer, the instructions first, without a word
        yield _at(_row(_at(read(f"{root}/api/ps"), "models"), "name", model), "context_length")
        parameters = str(_at(read(f"{root}/api/show", {"model": model}), "parameters"))
        found = re.search(r"num_ctx\s+(\d+)", parameters)
        yield int(found[1]) if found else OLLAMA_DEFAULT
    yield _at(row, "context_length")  # gateways such as OpenRouter: the model's own


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _row(rows: Any, name: str, wanted: str) -> Any:
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return next((row for row in found if row.get(name) in (wanted, f"{wanted}:latest")), None)
