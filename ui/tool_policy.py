"""The tab "Tools" of the memory page: what the agent's tools may do, and what was decided on their calls."""

import json
from typing import Any, Literal

import streamlit as st

from nodes.tool_policy import Rule, ToolPolicy
from ui.run_status import FAILURES
from ui.safe_text import escaped, one_line
from ui.session import Session

Choice = Literal["ask", "allow", "reads", "forbid"]
CHOICES: dict[Choice, str] = {
    "ask": "Ask me each time", "allow": "It may be called", "reads": "It only reads", "forbid": "Never",
}  # fmt: skip
BY = "the page"
EXAMPLE = '{"to": {"type": "string", "enum": ["bob@example.org"]}}'
SHOWN = 50  # decisions


def show_tools(session: Session) -> None:
    """The tab."""
    policy = session.runtime.tool_policy(session.context.agent)
    st.caption(
        "A calculator, sandboxed Python and your documents are always at hand. Tools of other programs (MCP servers) may act on "
        "the world: they are refused unless you allow them here. Once the agent has read text from outside, such as a page or a "
        "document, what you allow is asked for each time: that text may have told it what to do."
    )
    if failure := st.session_state.pop("policy_failure", ""):
        st.error(escaped(failure), icon=":material/error:")
    _show_rules(session, policy)
    _show_form(session, policy)
    _show_log(session)


def _show_rules(session: Session, policy: ToolPolicy) -> None:
    if policy == ToolPolicy():
        st.info(
            "No tool that acts on the world may be called. Add a rule below to allow one.", icon=":material/shield:"
        )
    for n, name in enumerate(policy.reads):
        rest = policy.model_copy(update={"reads": _without(policy.reads, n)})
        _show_rule(session, f"**{one_line(name)}** only reads", f"reads-{n}", rest)
    for field in ("grants", "restrictions"):
        rules = getattr(policy, field)
        for n, rule in enumerate(rules):
            rest = policy.model_copy(update={field: _without(rules, n)})
            _show_rule(session, _in_words(rule), f"{field}-{n}", rest)


def _without(rules: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    return (*rules[:n], *rules[n + 1 :])


def _in_words(rule: Rule) -> str:
    tool = "any tool" if rule.tool == "*" else f"**{one_line(rule.tool)}**"
    said = {"allow": f"{tool} may be called", "ask": f"{tool}: you are asked", "forbid": f"{tool} is never called"}[
        rule.effect
    ]
    conditions = "; ".join(f"{name} is {json.dumps(schema, ensure_ascii=False)}" for name, schema in rule.when.items())
    return said + (f", when {escaped(conditions)}" if conditions else "")


def _show_rule(session: Session, words: str, key: str, rest: ToolPolicy) -> None:
    text, button = st.columns([6, 1], vertical_alignment="center")
    text.markdown(words)
    button.button("Remove", key=f"remove-{key}", on_click=_keep, args=(session, rest))


def _keep(session: Session, policy: ToolPolicy) -> None:
    try:
        session.runtime.set_tool_policy(session.context.agent, policy, by=BY)
    except FAILURES as error:
        st.session_state.policy_failure = str(error)


def _show_form(session: Session, policy: ToolPolicy) -> None:
    st.subheader("Add a rule", anchor=False)
    with st.form("rule", clear_on_submit=True):
        name, choice = st.columns([1, 2], vertical_alignment="bottom")
        tool = name.text_input("Tool", placeholder="send_email", key="rule_tool", help="Its name; * is any tool.")
        chosen = choice.radio(
            "What holds for it", list(CHOICES), format_func=lambda c: CHOICES[c], horizontal=True, key="rule_choice"
        )
        when = st.text_area(
            "Only when its arguments are so (JSON Schema, with a type for each; empty: whatever they are)",
            placeholder=EXAMPLE, key="rule_when", height=68,
        )  # fmt: skip
        pressed = st.form_submit_button("Add the rule", icon=":material/add:")
    if not pressed:
        return
    try:
        _keep(session, _with_rule(policy, tool.strip(), chosen, when))
    except ValueError as error:
        st.error(escaped(_told(error)), icon=":material/edit:")
        return
    st.rerun()


def _with_rule(policy: ToolPolicy, tool: str, choice: Choice, when: str) -> ToolPolicy:
    """The policy with one rule more. Raises ValueError for one that cannot work."""
    if not tool:
        raise ValueError("Write the name of the tool.")
    try:
        conditions = json.loads(when) if when.strip() else {}
    except ValueError as error:
        raise ValueError(f"The condition is no JSON ({error}). Write it like {EXAMPLE}.") from error
    plain = policy.model_dump()
    if choice == "reads":
        if conditions:
            raise ValueError("A tool that only reads does so whatever its arguments are: leave the condition empty.")
        plain["reads"] = [*policy.reads, tool]
    else:
        field = "restrictions" if choice == "forbid" else "grants"
        plain[field] = [*plain[field], {"tool": tool, "effect": choice, "when": conditions}]
    return ToolPolicy.model_validate(plain)


def _told(error: ValueError) -> str:
    """The first thing that is wrong, without pydantic's frame."""
    errors = getattr(error, "errors", None)
    return str(errors()[0]["msg"]).removeprefix("Value error, ") if errors else str(error)


def _show_log(session: Session) -> None:
    st.subheader("What was decided", anchor=False)
    log = session.runtime.decisions(session.context.agent, SHOWN)
    if not log:
        st.caption(
            "Nothing yet. Every call of a tool that the agent makes while it works on a task stands here with its rule."
        )
        return
    st.dataframe([_row(each) for each in log], hide_index=True, width="stretch")


def _row(logged: dict[str, Any]) -> dict[str, str]:
    when = str(logged["time"])[:16].replace("T", " ")
    if "policy" in logged:
        return {
            "When (UTC)": when,
            "Tool": "",
            "Outcome": f"policy {logged['change']}",
            "Rule": f"by {logged['by'] or 'a program'}",
        }
    outcome = {"yes": "you allowed it", "no": "you refused it"}.get(
        logged["answer"], "called" if logged["effect"] == "allow" else "refused"
    )
    return {"When (UTC)": when, "Tool": logged["tool"], "Outcome": outcome, "Rule": logged["rule"]}
