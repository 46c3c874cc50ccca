"""The tool policy of an agent: which calls of tools are made, which wait for a person's yes, and which are refused.

After Progent (Shi et al. 2025, arXiv:2504.11703). Departures: (1) grants and restrictions stand in two lists instead of an order of
priorities, so that another restriction can only narrow; (2) once text from outside has been read, what a grant allows is asked for;
(3) a condition gives the type of its argument, and what it does not know is refused, where JSON Schema lets it pass.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from nodes.tool_conditions import NOT_GIVEN, Schema, check_condition, holds

Effect = Literal["allow", "ask", "forbid"]
"""From the widest to the strictest."""
STRICTNESS = {effect: n for n, effect in enumerate(get_args(Effect))}
ANY = "*"
NO_EFFECTS = "it has no side effects"
NOT_GRANTED = "no rule allows it"


class Rule(BaseModel):
    """What holds for calls of a tool whose arguments meet all conditions (nodes.tool_conditions)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: str = Field(min_length=1)
    """Its name; `*`: any."""
    effect: Effect
    when: dict[str, dict[str, JsonValue]] = {}
    """A condition on each argument that matters; the others may be anything."""

    @field_validator("tool")
    @classmethod
    def _one_or_any(cls, tool: str) -> str:
        if "*" in tool and tool != ANY:
            raise ValueError(f"{tool!r} is no tool's name: a rule names one tool, or * for any.")
        return tool

    def __str__(self) -> str:
        conditions = " and ".join(f"{name} is {json.dumps(schema)}" for name, schema in self.when.items())
        return f"{self.effect} {self.tool}{' when ' if conditions else ''}{conditions}"

    def is_of(self, tool: str) -> bool:
        """Whether it is about this tool."""
        return self.tool in (ANY, tool)

    def meets(self, arguments: Mapping[str, Any], doubt: bool) -> bool:
        """Whether a call is of those that the rule means.

        `doubt`: what is taken of an argument that was not given, or is of another type than its condition's.
        """
        return all(holds(schema, arguments.get(name, NOT_GIVEN), doubt) for name, schema in self.when.items())

    def covers(self, other: "Rule") -> bool:
        """Whether every call that `other` means is meant by this one too, as far as their forms tell."""
        theirs = {name: _written(schema) for name, schema in other.when.items()}
        return self.is_of(other.tool) and all(
            theirs.get(name) == _written(schema) for name, schema in self.when.items()
        )


class Decision(BaseModel):
    """What holds for one call."""

    effect: Effect
    rule: str
    """The rule by which it was decided."""


class ToolPolicy(BaseModel):
    """Which tools may be called. The empty one refuses every tool that has side effects, and lets all others be called.

    Raises ValueError for a rule in the wrong list, and for a condition that would not mean what it says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reads: tuple[str, ...] = ()
    """Tools that have no side effects, by the person's word: they may be called whatever was read."""
    grants: tuple[Rule, ...] = ()
    """What may be called that has side effects: `allow`, or `ask` for a person's yes each time. The widest that fits holds."""
    restrictions: tuple[Rule, ...] = ()
    """What is asked for, or forbidden, whatever is granted. The strictest that fits holds."""

    @model_validator(mode="after")
    def _in_its_list(self) -> "ToolPolicy":
        for rules, wrong in ((self.grants, "forbid"), (self.restrictions, "allow")):
            for rule in rules:
                if rule.effect == wrong:
                    raise ValueError(
                        f"the rule `{rule}` stands in the wrong list: grants allow or ask, restrictions ask or forbid."
                    )
                for argument, schema in rule.when.items():
                    check_condition(schema, repr(argument), grants=wrong == "forbid")
        return self

    def decide(self, tool: str, arguments: Mapping[str, Any], *, has_effects: bool, outside: str = "") -> Decision:
        """What holds for a call.

        `has_effects`: whether the tool may do more than read. `outside`: what was read from outside before; empty for nothing.
        """
        decision = self._granted(tool, arguments, has_effects=has_effects, outside=outside)
        for rule in self.restrictions:
            if (
                STRICTNESS[rule.effect] > STRICTNESS[decision.effect]
                and rule.is_of(tool)
                and rule.meets(arguments, doubt=True)
            ):
                decision = Decision(effect=rule.effect, rule=str(rule))
        return decision

    def _granted(self, tool: str, arguments: Mapping[str, Any], *, has_effects: bool, outside: str) -> Decision:
        if not has_effects or tool in self.reads:
            return Decision(effect="allow", rule=NO_EFFECTS)
        fitting = [rule for rule in self.grants if rule.is_of(tool) and rule.meets(arguments, doubt=False)]
        if not fitting:
            return Decision(effect="forbid", rule=NOT_GRANTED)
        widest = min(fitting, key=lambda rule: STRICTNESS[rule.effect])
        if widest.effect == "allow" and outside:
            return Decision(effect="ask", rule=f"{widest}; asked, for it has read text from outside ({outside})")
        return Decision(effect=widest.effect, rule=str(widest))

    def joined(self, other: "ToolPolicy") -> "ToolPolicy":
        """What both grant, and what either restricts."""
        return ToolPolicy(
            reads=(*self.reads, *other.reads),
            grants=(*self.grants, *other.grants),
            restrictions=(*self.restrictions, *other.restrictions),
        )

    def restricted_as(self, other: "ToolPolicy") -> "ToolPolicy":
        """With the other's restrictions too."""
        more = [rule for rule in other.restrictions if rule not in self.restrictions]
        return self.model_copy(update={"restrictions": (*self.restrictions, *more)})

    def narrows(self, other: "ToolPolicy") -> bool:
        """Whether this allows no call that `other` does not, as far as their forms tell: an unsure case is none.

        Each grant must be covered by one of the other's that is as wide, each restriction of the other's by one that is as strict.
        """
        covered = (
            any(STRICTNESS[theirs.effect] <= STRICTNESS[mine.effect] and theirs.covers(mine) for theirs in other.grants)
            for mine in self.grants
        )
        kept = (
            any(
                STRICTNESS[mine.effect] >= STRICTNESS[theirs.effect] and mine.covers(theirs)
                for mine in self.restrictions
            )
            for theirs in other.restrictions
        )
        return set(self.reads) <= set(other.reads) and all(covered) and all(kept)


def _written(schema: Schema) -> str:
    """As JSON: for Python `true` is 1."""
    return json.dumps(schema, sort_keys=True)
