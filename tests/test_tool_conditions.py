"""The language of tool policies: what holds for a call by itself, and that no trick gets past a condition."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.tool_policy import STRICTNESS, Effect, Rule, ToolPolicy

# ---- policies ----------------------------------------------------------------------------------------------------------

SCHEMAS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "enum": ["bob", "eve"]},
    {"type": "string", "pattern": "^b.*$"},
    {"type": "number", "maximum": 10},
    {"type": "integer", "minimum": 5},
    {"type": "array", "items": {"type": "string"}, "maxItems": 1},
    {"type": "boolean"},
]
VALUES: list[Any] = ["bob", "eve", "b\n", "", 3, 7, 11.5, float("nan"), True, None, [], ["bob"], [1], "11"]
CALLS: list[dict[str, Any]] = [{}, *({"x": v} for v in VALUES), *({"x": v, "y": "bob"} for v in VALUES), {"y": 7}]

conditions = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(SCHEMAS), max_size=2)


def rules(*effects: Effect) -> st.SearchStrategy[Rule]:
    return st.builds(Rule, tool=st.sampled_from(["send", "pay", "*"]), effect=st.sampled_from(effects), when=conditions)


policies = st.builds(
    ToolPolicy,
    reads=st.lists(st.sampled_from(["send", "pay"]), max_size=1).map(tuple),
    grants=st.lists(rules("allow", "ask"), max_size=3).map(tuple),
    restrictions=st.lists(rules("ask", "forbid"), max_size=3).map(tuple),
)


def widest(policy: ToolPolicy, other: ToolPolicy) -> list[str]:
    """The calls that `policy` lets through more easily than `other` does."""
    found = []
    for tool in ("send", "pay", "read"):
        for arguments in CALLS:
            for has_effects in (True, False):
                for outside in ("", "a page"):
                    said = [
                        STRICTNESS[each.decide(tool, arguments, has_effects=has_effects, outside=outside).effect]
                        for each in (policy, other)
                    ]
                    if said[0] < said[1]:
                        found.append(f"{tool} {arguments}")
    return found


@settings(max_examples=50, deadline=None)
@given(policies, policies, st.data())
def test_what_narrows_never_widens(old: ToolPolicy, other: ToolPolicy, data: st.DataObject) -> None:
    kept = [rule for rule in old.grants if data.draw(st.booleans())]
    tighter = [
        rule.model_copy(
            update={
                "when": {**rule.when, **data.draw(conditions)},
                "effect": data.draw(st.sampled_from(["ask", "allow"])),
            }
        )
        for rule in kept
    ]
    new = ToolPolicy(
        reads=old.reads[:1], grants=(*tighter, *other.grants[:1]), restrictions=(*old.restrictions, *other.restrictions)
    )
    for mine, theirs in ((new, old), (other, old), (old, other)):
        if mine.narrows(theirs):
            assert widest(mine, theirs) == []


@settings(max_examples=50, deadline=None)
@given(policies, rules("ask", "forbid"), rules("allow", "ask"))
def test_another_limit_or_a_grant_less_is_known_to_narrow(policy: ToolPolicy, restriction: Rule, grant: Rule) -> None:
    limited = policy.model_copy(update={"restrictions": (*policy.restrictions, restriction)})
    fewer = policy.model_copy(update={"grants": policy.grants[:-1]})
    assert policy.narrows(policy)
    for narrower in (limited, fewer):
        assert narrower.narrows(policy)
        assert widest(narrower, policy) == []
    more = policy.model_copy(update={"grants": (*policy.grants, grant)})
    assert policy.narrows(more)
    assert not (widest(more, policy) and more.narrows(policy))


def test_a_policy_lets_nothing_with_side_effects_through_unless_it_is_granted() -> None:
    assert ToolPolicy().decide("send", {}, has_effects=True).effect == "forbid"
    assert ToolPolicy().decide("send", {}, has_effects=False, outside="a page").effect == "allow"
    granted = ToolPolicy(grants=(Rule(tool="*", effect="allow"),))
    assert granted.decide("send", {}, has_effects=True).effect == "allow"
    assert granted.decide("send", {}, has_effects=True, outside="a page").effect == "ask"
    assert ToolPolicy(reads=("send",)).decide("send", {}, has_effects=True, outside="a page").effect == "allow"


FRIENDS = {"type": "string", "pattern": r"^[a-z]+@example\.org|boss@example\.com$"}


@pytest.mark.parametrize(
    "to",
    [
        "bob@example.org\n",
        "bob@example.org.evil.net",
        "boss@example.com\nbcc: eve",
        "x boss@example.com",
        ["bob@example.org"],
        7,
    ],
)
def test_no_trick_gets_past_the_condition_of_a_grant(to: Any) -> None:
    policy = ToolPolicy(grants=(Rule(tool="send", effect="allow", when={"to": FRIENDS}),))
    assert policy.decide("send", {"to": "bob@example.org"}, has_effects=True).effect == "allow"
    assert policy.decide("send", {"to": to}, has_effects=True).effect == "forbid"
    assert policy.decide("send", {}, has_effects=True).effect == "forbid"


@pytest.mark.parametrize("amount", [101, 100.5, float("nan"), float("inf"), "101", True, [101], None, 10**400])
def test_no_trick_gets_past_a_limit(amount: Any) -> None:
    much = {"type": "number", "exclusiveMinimum": 100}
    policy = ToolPolicy(
        grants=(Rule(tool="pay", effect="allow"),),
        restrictions=(Rule(tool="pay", effect="forbid", when={"amount": much}),),
    )
    assert policy.decide("pay", {"amount": 100}, has_effects=True).effect == "allow"
    assert policy.decide("pay", {"amount": amount}, has_effects=True).effect == "forbid"
    assert policy.decide("pay", {}, has_effects=True).effect == "forbid", "its default may be anything"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"tool": "", "effect": "allow"}, "at least 1 character"),
        ({"tool": "pay_*", "effect": "allow"}, "no tool's name"),
        ({"tool": "pay", "effect": "perhaps"}, "'allow', 'ask' or 'forbid'"),
        ({"tool": "pay", "effect": "forbid"}, "wrong list"),
        ({"tool": "pay", "effect": "allow", "if": {}}, "Extra inputs"),
        ({"tool": "pay", "effect": "allow", "when": {"to": {"enum": ["bob"]}}}, "says no type"),
        ({"tool": "pay", "effect": "allow", "when": {"to": {"type": "string", "patern": "^a$"}}}, "not known for"),
        ({"tool": "pay", "effect": "allow", "when": {"to": {"type": "string", "format": "email"}}}, "not known for"),
        ({"tool": "pay", "effect": "allow", "when": {"to": {"type": "array", "items": {"$ref": "http://x"}}}}, "says no type"),
        ({"tool": "pay", "effect": "allow", "when": {"to": {"type": "string", "pattern": "example.org"}}}, r"begin it with \^"),
        ({"tool": "pay", "effect": "allow", "when": {"to": {"type": "string", "pattern": "^(a$"}}}, "a regular expression"),
        ({"tool": "pay", "effect": "allow", "when": {"to": {"type": "text"}}}, "says no type"),
        ({"tool": "pay", "effect": "allow", "when": {"n": {"type": "number", "maximum": "ten"}}}, "write a number"),
    ],
)  # fmt: skip
def test_a_rule_that_would_not_mean_what_it_says_is_refused(rule: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ToolPolicy.model_validate({"grants": [rule]})


# ---- conditions --------------------------------------------------------------------------------------------------------

ORDER = {"type": "object", "properties": {"amount": {"type": "number", "exclusiveMinimum": 100}}}
SMALL = {"type": "object", "properties": {"amount": {"type": "number", "maximum": 100}}}


@pytest.mark.parametrize(
    "order", [{"amount": "101"}, {}, {"amount": None}, {"amount": 1e300}, {"amount": 10**400}, "101", [101]]
)
def test_what_is_inside_an_argument_is_in_doubt_too(order: Any) -> None:
    granted = ToolPolicy(grants=(Rule(tool="pay", effect="allow", when={"order": SMALL}),))
    limited = ToolPolicy(
        grants=(Rule(tool="pay", effect="allow"),),
        restrictions=(Rule(tool="pay", effect="forbid", when={"order": ORDER}),),
    )
    for policy in (granted, limited):
        assert policy.decide("pay", {"order": {"amount": 100}}, has_effects=True).effect == "allow"
        assert policy.decide("pay", {"order": order}, has_effects=True).effect == "forbid"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^https://evil|\.onion$", "https://evil.example/x"), (r"^https://evil|\.onion$", "a.onion"),
        (r"^eve@x\.org$", "eve@x.org\n"), (r"^eve@x\.org$", "eve@x.org"), ("eve", "all to eve, please"),
    ],
)  # fmt: skip
def test_a_restriction_holds_in_any_reading_of_its_pattern(pattern: str, text: str) -> None:
    when: dict[str, dict[str, Any]] = {"to": {"type": "string", "pattern": pattern}}
    but: dict[str, dict[str, Any]] = {"to": {"type": "string", "not": {"type": "string", "pattern": pattern}}}
    restricted = ToolPolicy(
        grants=(Rule(tool="send", effect="allow"),), restrictions=(Rule(tool="send", effect="forbid", when=when),)
    )
    granted = ToolPolicy(grants=(Rule(tool="send", effect="allow", when=but),))
    for policy in (restricted, granted):
        assert policy.decide("send", {"to": text}, has_effects=True).effect == "forbid"
        assert policy.decide("send", {"to": "bob@x.org"}, has_effects=True).effect == "allow"


def test_a_pattern_that_takes_for_ever_is_in_doubt() -> None:
    slow = {"to": {"type": "string", "pattern": r"^(a|aa)+b$"}}
    granted = ToolPolicy(grants=(Rule(tool="send", effect="allow", when=slow),))
    limited = ToolPolicy(
        grants=(Rule(tool="send", effect="allow"),), restrictions=(Rule(tool="send", effect="forbid", when=slow),)
    )
    for policy in (granted, limited):
        assert policy.decide("send", {"to": "a" * 100}, has_effects=True).effect == "forbid"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "maximum": float("inf")}, {"type": "number", "maximum": float("nan")},
        {"type": "string", "pattern": r"^a\$"}, {"type": "integer", "enum": [True, 5]}, {"type": "string", "minLength": -1},
        {"type": "string", "items": {"type": "string"}},
        {"type": "array", "items": {"enum": ["a"]}}, {"type": "string", "anyOf": []}, {"type": "string", "const": 1},
    ],
)  # fmt: skip
def test_a_condition_that_cannot_be_kept_or_met_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"condition|pattern"):
        ToolPolicy(grants=(Rule(tool="pay", effect="allow", when={"x": schema}),))


def test_true_is_not_one() -> None:
    def granting(value: Any, kind: str) -> ToolPolicy:
        return ToolPolicy(grants=(Rule(tool="pay", effect="allow", when={"x": {"type": kind, "const": value}}),))

    assert not granting(1, "integer").narrows(granting(True, "boolean"))
    assert granting(True, "boolean").decide("pay", {"x": 1}, has_effects=True).effect == "forbid"
    assert granting(1, "integer").decide("pay", {"x": True}, has_effects=True).effect == "forbid"
    assert json.loads(granting(1, "integer").model_dump_json())["grants"][0]["when"]["x"]["const"] == 1
