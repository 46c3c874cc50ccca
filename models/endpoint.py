"""Which model thinks: the endpoint of the settings, else a local server at its usual port, else the offline model."""

import ipaddress
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from functools import lru_cache

from langchain_core.language_models import BaseChatModel

from models.chat import EndpointChat
from models.local import PORT, is_listening
from models.offline import OfflineModel
from models.refusals import ModelFailed
from settings import Settings

OFFLINE = "offline"
LOCAL_SERVERS = {"Ollama": 11434, "LM Studio": 1234, "vLLM": 8000, "this machine's small model": PORT}
OTHER_KINDS = re.compile(
    r"embed|rerank|(?:^|[/-])(?:bge|e5|gte|minilm|whisper|clip|siglip|tts|stt|asr|kokoro|piper|xtts|dall-e|sdxl|flux)(?:[-_:/\d]|$)"
    r"|minilm|moderation|transcri|stable-diffusion|text-to-speech|ocr",
    re.I,
)
"""In names of models that do not chat."""
CLOUD = re.compile(r"[:-]cloud$")
READ_SECONDS = 60.0  # between two pieces of a reply


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint and the models it lists."""

    name: str
    url: str
    models: list[str]


def open_model(model: str | BaseChatModel, settings: Settings) -> BaseChatModel:
    """The chat model of that name at the endpoint of the settings; a chat model is returned as it is. Raises ModelFailed."""
    if isinstance(model, BaseChatModel):
        return model
    model = model or settings.model
    if model == OFFLINE:
        return OfflineModel()
    key = settings.api_key.get_secret_value()
    url = settings.base_url
    if not url and not key:
        found = local_endpoints()
        if not found:
            if model:
                raise ModelFailed(
                    f"There is no endpoint for the model {model!r}: set OPENAI_BASE_URL or OPENAI_API_KEY, start Ollama, "
                    "LM Studio or vLLM, or use the model `offline`."
                )
            return OfflineModel()
        having = next((e for e in found if model in e.models), found[0])
        url, model = having.url, model or having.models[0]
    if not model:
        listed = list_models(url, key) if url else ["gpt-4.1-mini"]
        if not listed:
            raise ModelFailed(
                f"The endpoint {url} lists no model: name one in PALIMPSEST_MODEL, or check OPENAI_BASE_URL."
            )
        model = listed[0]
    return _client(model, url, settings)


def open_person(model: str | BaseChatModel, settings: Settings) -> BaseChatModel:
    """The model that plays a simulated person: at an endpoint of its own where the settings name one. Raises ModelFailed."""
    if isinstance(model, BaseChatModel) or not settings.person_url:
        return open_model(model, settings)
    key = settings.person_key.get_secret_value()
    listed = [model] if model else list_models(settings.person_url, key)
    if not listed:
        raise ModelFailed(f"The endpoint {settings.person_url} lists no model: name the person's model.")
    return _client(listed[0], settings.person_url, settings.model_copy(update={"api_key": settings.person_key}))


@lru_cache(maxsize=8)
def _client(model: str, url: str, settings: Settings) -> BaseChatModel:
    """One client a model, since it keeps connections; which model it is, is looked up anew each time."""
    return EndpointChat(
        model=model, url=url or "https://api.openai.com/v1", key=settings.api_key, reply_tokens=settings.reply_tokens,
        temperature=settings.temperature,
        read_seconds=min(READ_SECONDS, settings.reply_seconds), calls=settings.calls, found=settings.folder / "protocols.json",
    )  # fmt: skip


def is_local(model: BaseChatModel, settings: Settings) -> bool:
    """Whether what the model is told stays on this machine, or on those that PALIMPSEST_PRIVATE_HOSTS names.

    Of chat models that are not ours that is not known. Ollama hands its cloud models on, whose names say so.
    """
    if isinstance(model, OfflineModel):
        return True
    if not isinstance(model, EndpointChat) or CLOUD.search(model.model):
        return False
    return is_private_host(model.url, settings)


def is_private_host(url: str, settings: Settings) -> bool:
    """Whether a URL is of this machine, or of one that PALIMPSEST_PRIVATE_HOSTS names."""
    host = urllib.parse.urlsplit(url).hostname or ""
    if host == "localhost" or host in settings.private_hosts.split():
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_endpoints() -> list[Endpoint]:
    """Ollama, LM Studio and vLLM where they answer at their usual ports and have a model."""
    found = []
    for name, port in LOCAL_SERVERS.items():
        url = f"http://127.0.0.1:{port}/v1"
        if is_listening(port) and (models := list_models(url, "")):
            found.append(Endpoint(name, url, models))
    return found


def list_models(url: str, key: str) -> list[str]:
    """What `GET {url}/models` lists to chat with, in its order; empty if it does not answer like an OpenAI-compatible endpoint."""
    request = urllib.request.Request(f"{url.rstrip('/')}/models", headers={"Authorization": f"Bearer {key or 'none'}"})
    try:
        with urllib.request.urlopen(request, timeout=2.0) as answer:
            listed = json.loads(answer.read(1 << 20))
        return [name for row in listed["data"] if not OTHER_KINDS.search(name := str(row["id"]))]
    except (OSError, ValueError, KeyError, TypeError, urllib.error.HTTPError):
        return []
