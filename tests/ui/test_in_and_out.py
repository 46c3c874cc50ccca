"""The tab "In and out" of the memory page: bring a file in, take the agent along, give it another name."""

import json

from streamlit.testing.v1 import AppTest

from memory.archival import Archival
from memory.blocks import list_threads
from runtime import Runtime
from tests.test_importing import CATS
from tests.ui.test_app import everything, memory, opened, run

__all__ = ["opened"]


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label == label).click()
    return run(app)


def upload(app: AppTest, name: str, content: bytes) -> AppTest:
    app.file_uploader(key="import_file").set_value((name, content, "application/octet-stream"))
    return press(app, "Bring it in")


def test_a_file_comes_in_and_the_page_says_what_came(opened: Runtime) -> None:
    app = upload(run(memory(opened)), "conversations.json", json.dumps([CATS, {"title": "Broken"}]).encode())
    assert "Brought in: 4 messages in 1 conversation. 1 part could not be read." in everything(app)
    assert "conversation 2 (Broken): the field 'mapping' is missing" in everything(app)
    assert [thread.title for thread in list_threads(opened.store)] == ["Cats"]
    again = upload(app, "conversations.json", json.dumps([CATS]).encode())
    assert "Brought in: nothing new. 4 were here already." in everything(again)


def test_a_file_that_is_nothing_says_so(opened: Runtime) -> None:
    assert "is nothing that can be imported" in everything(upload(run(memory(opened)), "x.json", b"{}"))
    assert "Choose a file first" in everything(press(run(memory(opened)), "Bring it in"))
    assert not any(button.label == "Rename" for button in run(memory(opened)).button)


def test_an_agent_is_taken_along_and_gets_another_name(opened: Runtime) -> None:
    app = upload(run(memory(opened)), "conversations.json", json.dumps([CATS]).encode())
    agent = list_threads(opened.store)[0].agent
    assert [button.label for button in app.download_button] == [f"Download {agent}"]
    archive = opened.settings.folder / "taken.zip"
    opened.export_agent(agent, archive)
    assert "Write the new name first" in everything(press(app, "Rename"))
    app.text_input(key="rename_to").set_value("grace")
    app = press(app, "Rename")
    assert "New for grace: 4 in recall storage" in everything(app)
    assert {thread.agent for thread in list_threads(opened.store)} == {"grace"}
    app.text_input(key="rename_to").set_value("no name!")
    assert "letters, digits" in everything(press(app, "Rename"))
    Archival(opened.store, "grace").insert("Another note.")
    assert "nothing that was not here" in everything(upload(app, "taken.zip", archive.read_bytes()))
