"""The page's branches and past, without a browser, on the offline model."""

import pytest
from streamlit.testing.v1 import AppTest

from runtime import Runtime
from tests.ui.test_app import bubbles, everything, memory, open_app, opened, run, say

__all__ = ["opened"]


def button(app: AppTest, label: str, number: int = 0) -> AppTest:
    """Press the button of that label, of several the one of that number."""
    [button for button in app.button if button.label == label][number].click()
    return run(app)


def past(runtime: Runtime) -> AppTest:
    """The memory page of the conversation."""
    app = memory(runtime)
    app.query_params["agent"], app.query_params["thread"] = "ada", "t"
    run(app)
    app.toggle(key="look_back").set_value(True)
    return run(app)


@pytest.fixture
def told(opened: Runtime) -> AppTest:
    app = open_app(agent="ada", thread="t")
    say(app, "My cat is called Byron.")
    return say(app, "I collect stamps.")


def test_a_message_is_edited_in_a_new_branch_and_the_old_one_comes_back(told: AppTest) -> None:
    app = button(told, "Edit", 1)
    next(area for area in app.text_area if area.label == "Your message").set_value("I row.")
    app = button(app, "Send in a new branch")
    assert bubbles(app)[2] == "I row."
    assert "stamps" not in " ".join(bubbles(app))
    branch = next(box for box in app.selectbox if box.label == "Branch (2)")
    assert [label.split(" · ")[2] for label in branch.options] == ["My cat is called Byron.", "I row."]
    branch.set_value("t")
    app = run(app)
    assert "I collect stamps." in bubbles(app)


def test_an_edit_can_be_left_and_an_empty_one_is_not_sent(told: AppTest) -> None:
    app = button(told, "Edit")
    next(area for area in app.text_area if area.label == "Your message").set_value("  ")
    app = button(app, "Send in a new branch")
    assert "The message is empty" in everything(app)
    app = button(app, "Cancel")
    assert len(bubbles(app)) == 4
    assert not [box for box in app.selectbox if box.label.startswith("Branch")]


def test_another_answer_is_asked_for_in_a_new_branch(told: AppTest, opened: Runtime) -> None:
    app = button(told, "Ask again")
    assert bubbles(app)[2] == "I collect stamps."
    tree = opened.branches("t")
    assert tree is not None
    assert [branch.parent for branch in tree.branches] == ["", "t"]


def test_the_memory_page_shows_the_past_and_goes_on_from_there(told: AppTest, opened: Runtime) -> None:
    app = past(opened)
    assert "Before **I collect stamps.**" in everything(app).replace("\\", "")
    assert [metric.value for metric in app.metric] == ["2", "1", "0"]  # messages, passages, lessons
    app = button(app, "Go on from here")
    assert "A new branch begins here" in everything(app)
    assert opened.store.find(("ada", "message"), "stamps").total == 0


def test_without_a_past_the_page_says_what_to_do(opened: Runtime) -> None:
    assert "Say two things on the chat page first" in everything(past(opened))
