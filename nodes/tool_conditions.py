"""Conditions on the arguments of a tool's call: a part of JSON Schema in which nothing passes that is not understood.

Where JSON Schema lets a value of another type pass, or an argument that is not given, the answer here is in doubt; and what is in
doubt is never granted, and always restricted.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import regex
from pydantic import JsonValue

Schema = Mapping[str, JsonValue]

SECONDS = 0.1  # for one pattern: some take for ever on texts that are made for it
NOT_GIVEN = object()
"""An argument that a call leaves out."""
TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: TYPES["integer"](value) or (isinstance(value, float) and math.isfinite(value)),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound, "exclusiveMinimum": lambda value, bound: value > bound,
    "maximum": lambda value, bound: value <= bound, "exclusiveMaximum": lambda value, bound: value < bound,
    "minLength": lambda value, bound: len(value) >= bound, "maxLength": lambda value, bound: len(value) <= bound,
    "minItems": lambda value, bound: len(value) >= bound, "maxItems": lambda value, bound: len(value) <= bound,
}  # fmt: skip
OF_NUMBERS = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}
KEYWORDS = {
    "string": {"pattern", "minLength", "maxLength", "enum", "const"},
    "boolean": {"enum", "const"},
    "integer": {*OF_NUMBERS, "enum", "const"},
    "number": {*OF_NUMBERS, "enum", "const"},
    "array": {"items", "contains", "minItems", "maxItems"},
    "object": {"properties"},
    "null": set[str](),
}
ANYWHERE = {"type", "not", "anyOf", "allOf"}


def check_condition(schema: Any, where: str, *, grants: bool) -> None:
    """Raise ValueError, naming `where` it stands, for a condition that would not mean what it says.

    `grants`: whether what meets it is granted; then a pattern must span the whole text.
    """
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind not in TYPES:
        raise ValueError(
            f"the condition on {where} says no type: write one of {', '.join(TYPES)}, such as {{'type': 'string'}}."
        )
    for keyword, value in schema.items():
        if keyword not in KEYWORDS[kind] | ANYWHERE:
            raise ValueError(f"the condition on {where} has {keyword!r}, which is not known for the type {kind}.")
        _check_keyword(kind, keyword, value, where, grants=grants)


def _check_keyword(kind: str, keyword: str, value: Any, where: str, *, grants: bool) -> None:
    def fits(is_right: bool, advice: str) -> None:
        if not is_right:
            raise ValueError(f"the condition on {where} has {keyword} {value!r}: write {advice}.")

    match keyword:
        case "pattern":
            fits(isinstance(value, str) and _compiles(value), "a regular expression")
            if grants and _spanned(value) is None:
                raise ValueError(
                    f"the pattern {value!r} of a grant fits texts that only contain it: begin it with ^ and end it with $."
                )
        case "enum":
            fits(isinstance(value, list) and all(map(TYPES[kind], value)), f"a list of values of the type {kind}")
        case "const":
            fits(TYPES[kind](value), f"a value of the type {kind}")
        case _ if keyword in OF_NUMBERS:
            fits(TYPES["number"](value), "a number")
        case _ if keyword in BOUNDS:
            fits(TYPES["integer"](value) and value >= 0, "a whole number")
        case "items" | "contains" | "not":
            check_condition(value, where, grants=grants != (keyword == "not"))
        case "anyOf" | "allOf":
            fits(isinstance(value, list) and bool(value), "a list of conditions")
            for each in value:
                check_condition(each, where, grants=grants)
        case "properties":
            fits(isinstance(value, Mapping), "conditions by name")
            for name, each in value.items():
                check_condition(each, f"{where}.{name}", grants=grants)


def holds(schema: Schema, value: Any, doubt: bool) -> bool:
    """Whether a value meets a condition; `doubt` where that cannot be told: the value is of another type, or not given."""
    kind = str(schema["type"])
    if not TYPES[kind](value):
        return doubt
    return all(_meets(kind, keyword, wanted, value, doubt) for keyword, wanted in schema.items() if keyword != "type")


def _meets(kind: str, keyword: str, wanted: Any, value: Any, doubt: bool) -> bool:
    match keyword:
        case "pattern":
            return _fits(wanted, value, doubt)
        case "enum":
            return any(value == each for each in wanted)  # all of them are of the type
        case "const":
            return bool(value == wanted)
        case "items":
            return all(holds(wanted, each, doubt) for each in value)
        case "contains":
            return any(holds(wanted, each, doubt) for each in value)
        case "not":
            return not holds(wanted, value, not doubt)
        case "anyOf":
            return any(holds(each, value, doubt) for each in wanted)
        case "allOf":
            return all(holds(each, value, doubt) for each in wanted)
        case "properties":
            return all(holds(each, value.get(name, NOT_GIVEN), doubt) for name, each in wanted.items())
    return BOUNDS[keyword](value, wanted)


def _fits(pattern: str, text: str, doubt: bool) -> bool:
    """Whether a text fits: for a grant as a whole, with each alternative of ^…$; for a restriction if it does so in any reading."""
    whole = _spanned(pattern)
    try:
        spans = whole is not None and bool(regex.fullmatch(whole, text, timeout=SECONDS))
        return spans if not doubt else spans or bool(regex.search(pattern, text, timeout=SECONDS))
    except TimeoutError:
        return doubt


def _spanned(pattern: str) -> str | None:
    """What stands between ^ and $; None for a pattern that does not span a whole text."""
    inner = pattern[1:-1]
    escapes = len(inner) - len(inner.rstrip("\\"))
    spans = len(pattern) > 1 and pattern.startswith("^") and pattern.endswith("$") and escapes % 2 == 0
    return f"(?:{inner})" if spans and _compiles(f"(?:{inner})") else None


def _compiles(pattern: str) -> bool:
    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError):
        return False
    return True
