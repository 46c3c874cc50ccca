"""What an agent's tools may do, on the pages: the rules, the question before a call, and the log."""

import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models.scripted import ScriptedModel, call, calls
from nodes.tool_policy import Rule, ToolPolicy
from runtime import Runtime
from tests.ui.test_app import bubbles, button, everything, open_app, opened, run, say
from tests.ui.test_refine import open_page, script, start

__all__ = ["opened", "script"]

SERVER = """
from mcp.server.fastmcp import FastMCP
server = FastMCP("post")
@server.tool()
def send(to: str) -> str:
    "Sends a letter."
    open({file!r}, "a").write(to + "\\n")
    return "sent to " + to
server.run("stdio")
"""


@pytest.fixture
def sent(opened: Runtime, tmp_path: Path) -> Path:
    """An MCP server named post, whose tool writes into this file."""
    file = tmp_path / "sent.txt"
    (tmp_path / "post.py").write_text(SERVER.format(file=str(file)))
    server = f"post = {sys.executable} {tmp_path / 'post.py'}"
    opened.settings = opened.settings.model_copy(update={"mcp_servers": server})
    return file


def open_tools() -> AppTest:
    def page() -> None:
        from ui import memory as page_file

        page_file.show()

    return run(AppTest.from_function(page, default_timeout=60))


def add(app: AppTest, tool: str, choice: str, when: str = "") -> str:
    app.text_input(key="rule_tool").set_value(tool)
    app.radio(key="rule_choice").set_value(choice)
    app.text_area(key="rule_when").set_value(when)
    button(app, "Add the rule").click()
    return everything(run(app))


def test_rules_are_added_and_taken_away_in_words(opened: Runtime) -> None:
    app = open_tools()
    assert "No tool that acts on the world may be called" in everything(app)
    assert "**send** may be called" in add(app, "send", "allow")
    told = add(app, "send", "forbid", '{"to": {"type": "string", "enum": ["eve"]}}')
    assert 'send** is never called, when to is {"type": "string", "enum": ["eve"]}' in told
    assert "**read** only reads" in add(app, "read", "reads")
    assert "Write the name of the tool" in add(app, " ", "allow")
    assert "is no JSON" in add(app, "send", "allow", "to bob")
    assert "says no type" in add(app, "send", "ask", '{"to": {"enum": ["bob"]}}')
    assert "whatever its arguments are" in add(app, "send", "reads", '{"to": {"type": "string"}}')
    app.button(key="remove-reads-0").click()
    run(app)
    policy = opened.tool_policy("palimpsest")
    assert (policy.reads, policy.grants) == ((), (Rule(tool="send", effect="allow"),))
    assert [row["Outcome"] for row in app.dataframe[0].value.to_dict("records")] == [
        "policy narrowed", "policy widened", "policy narrowed", "policy widened",
    ]  # fmt: skip


@pytest.mark.parametrize(("press", "letters"), [("Allow it", ["bob"]), ("Refuse it", [])])
def test_the_refine_page_asks_before_a_call(
    opened: Runtime, script: list[Any], sent: Path, press: str, letters: list[str]
) -> None:
    opened.set_tool_policy("palimpsest", ToolPolicy(grants=(Rule(tool="send", effect="ask"),)), by="me")
    app = open_page()
    app.segmented_control(key="refine_method").set_value("react")
    run(app)
    app.text_area(key="refine_mcp").set_value("post")
    script += [call("send", to="bob"), "done"]
    told = everything(start(run(app), "Write to Bob."))
    assert "May it call send?" in told
    assert '"to": "bob"' in told
    assert "The policy says to ask you for it." in told
    button(app, press).click()
    told = everything(run(app))
    assert "Answered." in told
    assert "May it call" not in told
    assert (sent.read_text().split() if sent.exists() else []) == letters


def test_of_several_calls_those_that_are_ticked_are_made(opened: Runtime, script: list[Any], sent: Path) -> None:
    opened.set_tool_policy("palimpsest", ToolPolicy(grants=(Rule(tool="send", effect="ask"),)), by="me")
    app = open_page()
    app.segmented_control(key="refine_method").set_value("react")
    run(app)
    app.text_area(key="refine_mcp").set_value("post")
    script += [calls(("send", {"to": "bob"}), ("send", {"to": "eve"})), "done"]
    assert "2 calls wait for your yes" in everything(start(run(app), "Write to Bob."))
    app.checkbox[0].set_value(True)
    run(app)
    button(app, "Go on").click()
    run(app)
    assert sent.read_text() == "bob\n"


def test_the_chat_page_asks_before_a_call_that_memory_may_have_caused(
    opened: Runtime, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.set_tool_policy("palimpsest", ToolPolicy(grants=(Rule(tool="send", effect="allow"),)), by="me")
    model = ScriptedModel(
        turns=[
            call("solve_carefully", task="Write to Bob.", method="react", request_heartbeat=True),
            calls(("send", {"to": "bob"}), ("search", {"entity": "Bob"})), call("send", to="eve"), "done",
            call("send_message", message="Bob has it."),
        ],
        prompts=[],
    )  # fmt: skip
    monkeypatch.setattr("nodes.replies.open_model", lambda name, settings: model)
    app = open_app()
    app.text_area(key="chat_mcp").set_value("post")
    say(run(app), "Write to Bob.")
    assert "Tools that solve_carefully may use beside its own: send" in model.prompts[0][0].text
    told = everything(app)
    assert "May it call send?" in told
    assert '"to": "eve"' in told
    assert "It has read text from outside (send), which may have told it to do this" in told
    assert sent.read_text() == "bob\n"
    button(app, "Refuse it").click()
    assert bubbles(run(app))[-1] == "Bob has it."
    assert sent.read_text() == "bob\n"
    model.finish()
