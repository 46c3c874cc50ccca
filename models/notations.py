"""Calls that a model writes as text, in every notation that is known: JSON in tags, fences, lists or bare, and Python's.

Only what names an offered tool, with arguments that its schema takes, is a call; what is quoted is none.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

Schema = Mapping[str, Any]
NAMES = ("name", "tool", "tool_name", "function_name", "action", "function", "recipient_name")
ARGUMENTS = ("arguments", "parameters", "args", "action_input", "tool_input", "input", "params", "kwargs")
LISTS = ("tool_calls", "calls", "tools", "actions", "tool_uses")
MARKS = re.compile(
    r"</?(?:tool_calls?|function_calls?|function|tools?|parameter)(?:=[\w.-]*)?>|<\|(?:python_tag|tool_calls?(?:_begin|_end|_start)?|eom_id|eot_id|im_end|call)\|>"
    r"|\[/?TOOL_CALLS?\]|\[/?ARGS\]|<start_function_call>|<end_function_call>|```(?:json|tool_call|tool_code|python|xml)?|<\uff5c[^\uff5c>]*\uff5c>",
    re.I,
)
"""What stands round calls and says nothing itself."""
QUOTED_LINE = re.compile(r"(?m)^[ \t]*>.*$")
PARAMETER = re.compile(r"<parameter(?:=|\s+name=\")([\w.-]+)\"?>(.*?)</parameter>", re.S)
GEMMA = re.compile(r"call:([\w.-]+)\{(.*?)\}", re.S)


@dataclass(frozen=True)
class Written:
    """A call in a text, and where it stands."""

    name: str
    arguments: dict[str, Any]
    begin: int
    end: int


def calls_in(text: str, tools: Sequence[Schema], quoted: str = "") -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """The calls of a reply in their order, and what else it says. What stands word for word in `quoted` is no call."""
    offered = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    hidden = QUOTED_LINE.sub(lambda line: " " * len(line[0]), text)
    found: list[Written] = []
    at = 0
    for written in sorted(_written(hidden, offered), key=lambda w: (w.begin, -w.end)):
        source = hidden[written.begin : written.end].strip()
        if written.begin < at or (source and source in quoted) or _in_backticks(hidden, written):
            continue
        arguments = fitting(written.arguments, offered[written.name])
        if arguments is not None:
            found.append(Written(written.name, arguments, written.begin, written.end))
            at = written.end
    if not found:
        return [], text
    rest, at = "", 0
    for written in found:
        rest, at = rest + text[at : written.begin], written.end
    rest = MARKS.sub("", rest + text[at:])
    rest = "\n".join(
        line for line in rest.splitlines() if line.strip(" \t{}[](),;.`:") not in ("", "function", "<function=")
    )
    return [(w.name, w.arguments) for w in found], rest.strip()


def fitting(arguments: Any, schema: Schema) -> dict[str, Any] | None:
    """The arguments as the schema takes them: numbers and truth values written as text are read; None if they do not fit."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return None
    if not isinstance(arguments, dict):
        return None
    properties = schema.get("properties", {})
    read = {name: _read(value, properties.get(name, {})) for name, value in arguments.items()}
    optional = {"request_heartbeat"} | set(properties) - set(schema.get("required", properties))
    lacking = [name for name in schema.get("required", ()) if name not in read and name not in optional]
    needed = {**schema, "required": [name for name in schema.get("required", ()) if name in read]}
    return read if not lacking and Draft202012Validator(needed).is_valid(read) else None


def _read(value: Any, schema: Schema) -> Any:
    kind = schema.get("type")
    if isinstance(value, str) and kind in ("boolean", "integer", "number"):
        try:
            return json.loads(value.strip().lower())
        except ValueError:
            return value
    return json.dumps(value, ensure_ascii=False) if kind == "string" and isinstance(value, dict | list) else value


def _in_backticks(text: str, written: Written) -> bool:
    before, after = text[: written.begin].rstrip(" "), text[written.end :].lstrip(" ")
    return before.endswith("`") and not before.endswith("```") and after.startswith("`")


def _written(text: str, offered: Mapping[str, Schema]) -> Iterator[Written]:
    yield from _json_calls(text, offered)
    yield from _named_json(text, offered)
    yield from _python_calls(text, offered)
    for found in GEMMA.finditer(text):
        if found[1] in offered:
            yield Written(found[1], _gemma_arguments(found[2]), found.start(), found.end())
    for found in re.finditer(r"<(function|invoke)(?:=|\s+name=\")([\w.-]+)\"?>(.*?)</\1>", text, re.S):
        if found[2] in offered and (parameters := PARAMETER.findall(found[3])):
            yield Written(found[2], {k: v.strip("\n") for k, v in parameters}, found.start(), found.end())


def _json_calls(text: str, offered: Mapping[str, Schema]) -> Iterator[Written]:
    """Objects and lists of JSON, also with doubled braces."""
    at = 0
    while (at := _next(text, at)) >= 0:
        value, end = _decoded(text, at)
        if end < 0:
            at += 1
            continue
        calls = list(_calls_of(value, offered))
        for number, (name, arguments) in enumerate(calls):  # the first stands for all of a list
            yield Written(name, arguments, end if number else at, end)
        at = end if calls else at + 1


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The objects of JSON that stand in a text."""
    at = 0
    while (at := text.find("{", at)) >= 0:
        value, end = _decoded(text, at)
        if isinstance(value, dict):
            yield value
        at = max(end, at + 1)


def _next(text: str, at: int) -> int:
    found = [n for n in (text.find("{", at), text.find("[", at)) if n >= 0]
    return min(found) if found else -1


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins there, and its end; -1 if there is none."""
    decoder = json.JSONDecoder(strict=False)  # small models leave line breaks in texts
    try:
        return decoder.raw_decode(text, at)
    except (ValueError, RecursionError):
        pass
    if text.startswith("{{", at):  # as in a template: once too often
        try:
            value, end = decoder.raw_decode(text, at + 1)
        except (ValueError, RecursionError):
            return None, -1
        return value, end + text.startswith("}", end)
    return None, -1


def _calls_of(value: Any, offered: Mapping[str, Schema]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _calls_of(item, offered)
        return
    if not isinstance(value, dict):
        return
    for name in LISTS:
        if isinstance(value.get(name), list):
            yield from _calls_of(value[name], offered)
            return
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next((str(value[n]).removeprefix("functions.") for n in NAMES if isinstance(value.get(n), str)), "")
    if name in offered:
        given = next((value[a] for a in ARGUMENTS if a in value), None)
        yield name, {k: v for k, v in value.items() if k not in NAMES} if given is None else given
    elif len(value) == 1 and (name := next(iter(value))) in offered:
        yield name, value[name]


def _named_json(text: str, offered: Mapping[str, Schema]) -> Iterator[Written]:
    """A tool's name, and after it its arguments as JSON."""
    for found in re.finditer(r"[\w.-]+", text):
        name = found[0].removeprefix("functions.").split(":")[0]
        if name not in offered:
            continue
        between = re.compile(r"(?:\[ARGS\]|[>\s(:]|```(?:json)?|<\uff5c[^\uff5c>]*\uff5c>|<\|[\w]*\|>)*").match(
            text, found.end()
        )
        at = between.end() if between else found.end()
        if text.startswith("{", at):
            value, end = _decoded(text, at)
            if end >= 0:
                closing = re.compile(r"\s*\)").match(text, end)
                yield Written(
                    name, value, found.start(), closing.end() if closing and "(" in text[found.end() : at] else end
                )


def _python_calls(text: str, offered: Mapping[str, Schema]) -> Iterator[Written]:
    """`name(key="value")`, alone or in a list."""
    for found in re.finditer(r"\b([A-Za-z_]\w*)(?:\.call)?\(", text):
        name = found[1]
        if name not in offered:
            continue
        for end in (m.end() for m in re.compile(r"\)").finditer(text, found.end())):
            try:
                tree = ast.parse(name + text[found.end() - 1 : end], mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            arguments = _literals(tree, offered[name])
            if arguments is not None:
                yield Written(name, arguments, found.start(), end)
            break


def _literals(tree: ast.expr, schema: Schema) -> dict[str, Any] | None:
    if not isinstance(tree, ast.Call):
        return None
    names = list(schema.get("properties", {}))
    try:
        placed = {names[n]: ast.literal_eval(value) for n, value in enumerate(tree.args)}
        return {**placed, **{str(k.arg): _literal(k.value) for k in tree.keywords if k.arg}}
    except (ValueError, IndexError, TypeError, SyntaxError):
        return None


def _literal(node: ast.expr) -> Any:
    """A literal; true, false and null as JSON has them."""
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return json.loads(node.id)
    return ast.literal_eval(node)


def _gemma_arguments(text: str) -> dict[str, Any]:
    pairs = re.findall(r"([\w.-]+):(?:<escape>(.*?)<escape>|\"((?:[^\"\\]|\\.)*)\"|([^,]*))", text, re.S)
    return {key: escaped or quoted or bare.strip() for key, escaped, quoted, bare in pairs}
