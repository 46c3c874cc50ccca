"""How a model is told of its tools, and how it calls them: natively, by a JSON schema, or in its text.

Small models often cannot use a server's own tools, and can write JSON. Which way a model can use is found once, by short
probes, and kept with its endpoint.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from models.notations import Schema

Protocol = Literal["native", "schema", "text"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
SPEAK = "speak"
"""Where the tools have no way to say something: the call that is plain text."""
SPEAKER = {
    "function": {
        "name": SPEAK, "description": "Say something in plain words, such as the final answer.",
        "parameters": {"properties": {"text": {"type": "string"}}, "required": ["text"], "type": "object"},
    }
}  # fmt: skip
HOW = """\
Tools (name(arguments): what it does)
{lines}

You act by calls alone. Reply with one call as JSON and nothing else, such as:
{{"name": "{name}", "arguments": {example}}}"""
GOOD_TURNS = (
    ("I love jazz, and my cat is called Mo.", "Jazz, how nice! And Mo is a lovely name for a cat."),
    ("What is my cat called?", "Your cat is called Mo."),
)
"""What a person says, and the answer that is sent: they stand in the prompt of the schema way."""
OTHERS = "Good turns, from talks with other people; what they tell is not about your person."
EXAMPLES = ("jazz", "Mo")
"""What the person of the good turns tells: small models take it for what their own person has told."""
FIRST_TURNS = (
    ("Hello!", "Hello! What is on your mind?"),
    ("It has been raining.", "Then a cup of tea may help."),
    ("How many days has a leap year?", "A leap year has 366 days."),
    ("Thank you.", "You are welcome."),
)
"""In the text way, where nothing else holds a model to the form, they begin the dialogue: SmolLM2-135M then makes 19 sound calls of
20, and none with the good turns in the prompt. They tell nothing of the person."""


def rendered(
    messages: Sequence[BaseMessage], tools: Sequence[Schema], protocol: Protocol, only: Sequence[str] = ()
) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The prompt and the request's options for that way of calling tools."""
    if not tools:
        return list(messages), {}
    if protocol == "native":
        return list(messages), {"tools": list(tools)}
    offered = offer(tools)
    how = HOW.format(lines="\n".join(map(tool_line, offered)), **_example(offered[0]))
    speaks = offered[0]["function"]["name"] == "send_message"
    if protocol == "text":
        first = next((n for n, m in enumerate(messages) if not isinstance(m, SystemMessage)), len(messages))
        return [
            SystemMessage(how),
            *messages[:first],
            *_as_messages(FIRST_TURNS if speaks else ()),
            *map(_plain, messages[first:]),
        ], {}
    told = SystemMessage("\n".join([how, OTHERS, *_as_lines(GOOD_TURNS)]) if speaks else how)
    plain = [told, *map(_plain, messages)]
    named = {tool["function"]["name"]: tool for tool in (*offered, SPEAKER)}
    callable_now = [tool for name, tool in named.items() if name in only] if only else offered
    return plain, {"response_format": response_format(callable_now)}


def _as_lines(turns: Sequence[tuple[str, str]]) -> list[str]:
    return [f'The person says: "{said}"\nYou: {_sent(answer)}' for said, answer in turns]


def _as_messages(turns: Sequence[tuple[str, str]]) -> list[BaseMessage]:
    pairs = [(HumanMessage(f'The person says: "{said}"'), AIMessage(_sent(answer))) for said, answer in turns]
    return [message for pair in pairs for message in pair]


def _sent(answer: str) -> str:
    return json.dumps({"name": "send_message", "arguments": {"message": answer}})


def offer(tools: Sequence[Schema]) -> list[Schema]:
    """The tools, with a way to say something, the likeliest first."""
    speaking = [tool for tool in tools if tool["function"]["name"] == "send_message"]
    return [*speaking, *(t for t in tools if t not in speaking)] if speaking else [*tools, SPEAKER]


def tool_line(tool: Schema) -> str:
    """A tool in one line."""
    function = tool["function"]
    parameters = function.get("parameters", {})
    required = parameters.get("required", ())
    names = [name if name in required else f"{name}?" for name in parameters.get("properties", {})]
    told = str(function.get("description", "")).split("\n")[0]
    return f"- {function['name']}({', '.join(names)}): {told.split('. ')[0].rstrip('.')}"


def response_format(tools: Sequence[Schema]) -> dict[str, Any]:
    """A schema of one call: flat, without patterns and bounds, which servers' grammars trip over."""
    calls = [
        {
            "type": "object", "required": ["name", "arguments"], "additionalProperties": False,
            "properties": {"name": {"const": tool["function"]["name"]}, "arguments": _flat(tool["function"])},
        }
        for tool in tools
    ]  # fmt: skip
    return {"type": "json_schema", "json_schema": {"name": "call", "strict": True, "schema": {"anyOf": calls}}}


def _flat(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters", {})
    properties = {
        name: {k: v for k, v in schema.items() if k in ("type", "enum", "items")} or {"type": "string"}
        for name, schema in parameters.get("properties", {}).items()
    }
    return {
        "type": "object", "properties": properties, "required": list(parameters.get("required", properties)),
        "additionalProperties": False,
    }  # fmt: skip


def _example(tool: Schema) -> dict[str, str]:
    properties = tool["function"].get("parameters", {}).get("properties", {})
    values = {"string": "…", "boolean": False, "integer": 0, "number": 0}
    example = {name: values.get(str(schema.get("type")), "…") for name, schema in properties.items()}
    return {"name": tool["function"]["name"], "example": json.dumps(example, ensure_ascii=False)}


def _plain(message: BaseMessage) -> BaseMessage:
    """A message without the API's own calls and results: they stand in its text."""
    if isinstance(message, ToolMessage):
        return HumanMessage(f"[result of {message.name or 'the call'}] {message.text}")
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [
            json.dumps({"name": c["name"], "arguments": c["args"]}, ensure_ascii=False) for c in message.tool_calls
        ]
        return AIMessage("\n".join([*([message.text] if message.text else []), *calls]))
    return message


class KeptProtocols:
    """The ways that the models of an endpoint were found to use, in a file of the home folder."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, Protocol] = {}
        if path is not None and path.exists():
            self._known = _read_kept(path)

    def of(self, url: str, model: str) -> Protocol | None:
        """The way of a model; None before it was found."""
        return self._known.get(f"{url} {model}")

    def keep(self, url: str, model: str, protocol: Protocol) -> None:
        """Keep what was found."""
        self._known[f"{url} {model}"] = protocol
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            part.replace(self._path)


def _read_kept(path: Path) -> dict[str, Protocol]:
    """What stands in the file; nothing where it is damaged, since all of it can be found anew."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return {key: value for key, value in read.items() if value in PROTOCOLS} if isinstance(read, dict) else {}
