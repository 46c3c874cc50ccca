"""The page's temporary chat, which leaves nothing to find; and conversations that are left out of memory, and taken in again."""

from streamlit.testing.v1 import AppTest

from memory.blocks import list_threads
from memory.privacy import private_threads
from runtime import Runtime
from tests.ui.test_app import bubbles, everything, open_app, opened, run, say

__all__ = ["opened"]


def begin(app: AppTest) -> AppTest:
    next(button for button in app.button if button.label == "Temporary chat").click()
    return run(app)


def test_a_temporary_chat_answers_and_is_on_no_list(opened: Runtime) -> None:
    app = say(open_app(), "My cat is called Byron.")
    app = begin(app)
    assert "A temporary chat: the agent reads what it remembers, and keeps nothing." in everything(app)
    app = say(app, "What is my cat called?")
    assert bubbles(app)[0] == "What is my cat called?"
    assert "Byron" in bubbles(app)[1]
    assert not any(button.label in ("Edit", "Ask again") for button in app.button)
    assert [thread.title for thread in list_threads(opened.store)] == ["My cat is called Byron."]
    assert opened.store.find(("palimpsest", "message"), "What is my cat").total == 0


def test_the_address_of_a_temporary_chat_stays_one(opened: Runtime) -> None:
    app = begin(open_app())
    thread = app.query_params["thread"]
    again = open_app(thread=thread if isinstance(thread, str) else thread[0])
    say(again, "Do you hear me?")
    assert list_threads(opened.store) == []
    app = open_app()
    next(button for button in app.button if button.label == "New conversation").click()
    assert "temporary chat" not in everything(run(app))


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    return run(app)


def test_a_conversation_is_left_out_of_memory_and_taken_in_again(opened: Runtime) -> None:
    app = press(say(open_app(), "My cat is called Byron."), "Leave out of memory")
    assert "Left out of memory" in everything(app)
    assert bubbles(app)[0] == "My cat is called Byron."
    assert app.chat_input[0].disabled
    assert not any(button.label in ("Edit", "Ask again") for button in app.button)
    assert opened.store.find(("palimpsest", "message"), "Byron").total == 0
    app = press(app, "Take it in again")
    assert opened.store.find(("palimpsest", "message"), "Byron").total > 0
    assert not app.chat_input[0].disabled
    assert not [box for box in app.selectbox if box.label.startswith("Branch")]
    assert "Leave out of memory" in [button.label for button in app.button]


def test_a_conversation_is_private_from_its_first_word(opened: Runtime) -> None:
    app = open_app()
    thread = app.query_params["thread"]
    thread = thread if isinstance(thread, str) else thread[0]
    app.toggle(key=f"private-{thread}").set_value(True)
    app = say(run(app), "My cat is called Byron.")
    assert "A private conversation." in everything(app)
    assert any(area.label.startswith("private human") for area in app.text_area)
    assert private_threads(opened.store, "palimpsest") == [thread]
    app = press(app, "Make public")
    assert private_threads(opened.store, "palimpsest") == []
    assert "A private conversation." not in everything(app)
    press(app, "Make private")
    assert private_threads(opened.store, "palimpsest") == [thread]
