"""What goes between processes that share a memory, as JSON: Qdrant's requests, and what comes back."""

from enum import Enum
from typing import Any

from pydantic import BaseModel
from qdrant_client import models

from memory.edge import QueryResult, Record

KIND, BODY = "kind", "body"


def to_wire(value: Any) -> Any:
    """A value as JSON can have it. Mappings are of plain data or of Qdrant's models. Raises TypeError for what is not sent."""
    if isinstance(value, BaseModel):
        return {KIND: type(value).__name__, BODY: value.model_dump(mode="json")}
    if isinstance(value, Enum):
        return {KIND: type(value).__name__, BODY: value.value}
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [to_wire(each) for each in value]
    if isinstance(value, dict):
        if any(isinstance(each, BaseModel) for each in value.values()):
            return {KIND: "models", BODY: {name: to_wire(each) for name, each in value.items()}}
        return {KIND: "dict", BODY: value}
    if isinstance(value, set):
        return {KIND: "set", BODY: sorted(value)}
    if isinstance(value, Record):
        return {KIND: "Record", BODY: [value.id, value.payload, value.score]}
    if isinstance(value, QueryResult):
        return {KIND: "QueryResult", BODY: to_wire(value.points)}
    raise TypeError(f"A {type(value).__name__} is not sent to the process that has the memory open.")


def from_wire(value: Any) -> Any:
    """The value again; a tuple is a list."""
    if isinstance(value, list):
        return [from_wire(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind, body = value[KIND], value[BODY]
    match kind:
        case "dict":
            return body
        case "models":
            return {name: from_wire(each) for name, each in body.items()}
        case "set":
            return set(body)
        case "Record":
            return Record(*body)
        case "QueryResult":
            return QueryResult(from_wire(body))
    made = getattr(models, kind)
    return made(body) if issubclass(made, Enum) else made.model_validate(body)
