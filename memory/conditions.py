"""BaseStore's namespaces and filters as conditions of Qdrant. Pure functions."""

from collections.abc import Mapping
from typing import Any

from langgraph.store.base import MatchCondition
from qdrant_client import models

Namespace = tuple[str, ...]
IN = "in="
"""Begins the tags that tell a memory's namespace, and those above it."""
TAGGED = frozenset({"value.role", "value.thread", "value.source"})
"""Fields whose texts stand in a payload's `tags`, as does every true and false."""


def inside(namespace: Namespace, *conditions: models.Condition) -> models.Filter:
    """Confine to a namespace and all below it; its first label is the tenant."""
    must: list[models.Condition] = list(conditions)
    if namespace:
        tenant = models.FieldCondition(key="agent", match=models.MatchValue(value=namespace[0]))
        within = models.FieldCondition(key="tags", match=models.MatchValue(value=IN + ".".join(namespace)))
        must = [tenant, within, *must]
    return models.Filter(must=must)


def value_conditions(wanted: Mapping[str, Any], path: str = "value") -> list[models.Condition]:
    """BaseStore's filter: equality, nested values, $eq $ne $gt $gte $lt $lte; a list means any of. Raises ValueError."""
    conditions: list[models.Condition] = []
    for key, value in wanted.items():
        field = field_path(path, key)
        if isinstance(value, dict) and any(k.startswith("$") for k in value):
            conditions += [_operator(field, name, operand) for name, operand in value.items()]
        elif isinstance(value, dict):
            conditions += value_conditions(value, field)
        else:
            conditions.append(_equals(field, value))
    return conditions


def field_path(path: str, key: str) -> str:
    """The path of a field in a payload; a tag is the path, `=` and the value, so a key with that sign is quoted too."""
    return f'{path}."{key}"' if "." in key or "=" in key else f"{path}.{key}"


def _operator(field: str, name: str, operand: Any) -> models.Condition:
    if name == "$eq":
        return _equals(field, operand)
    if name == "$ne":
        return models.Filter(must_not=[_equals(field, operand)])
    if name in ("$gt", "$gte", "$lt", "$lte"):
        return models.FieldCondition(key=field, range=models.Range(**{name[1:]: float(operand)}))
    raise ValueError(f"Unsupported operator: {name}. Use $eq, $ne, $gt, $gte, $lt or $lte.")


def _equals(field: str, value: Any) -> models.Condition:
    if value is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=field))
    if isinstance(value, bool) or (isinstance(value, str) and field in TAGGED):
        return models.FieldCondition(key="tags", match=models.MatchValue(value=f"{field}={value}"))
    if isinstance(value, int | str):
        return models.FieldCondition(key=field, match=models.MatchValue(value=value))
    if isinstance(value, float):
        return models.FieldCondition(key=field, range=models.Range(gte=value, lte=value))
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value):
        if field in TAGGED:
            return models.FieldCondition(key="tags", match=models.MatchAny(any=[f"{field}={v}" for v in value]))
        return models.FieldCondition(key=field, match=models.MatchAny(any=list(value)))
    raise ValueError(f"Cannot filter {field} by {value!r}: use text, a number, true, false, null or a list of texts.")


def matches(condition: MatchCondition, namespace: Namespace) -> bool:
    """Whether a namespace begins, or ends, with the condition's path, in which * stands for any label."""
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(want in ("*", have) for want, have in zip(path, part, strict=True))
