"""The page "Refine": with AppTest and a scripted model, then as a person at a browser and a fake endpoint."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from memory.lessons import Lesson, Lessons
from models.scripted import ScriptedModel, call
from runtime import Runtime
from tests.models.fake_openai import FakeOpenAI, fake_openai, writes
from tests.ui.test_app import button, everything, opened, run
from tests.ui.test_browser import CHROMIUM, address, page, rest
from ui import session
from ui.diff_picture import diff_html

__all__ = ["address", "opened", "page"]

WRONG = "```python\ndef add(a, b):\n    return a - b\n```"
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
TESTS = "assert add(1, 2) == 3\nassert add(0, 0) == 0"


def verdict(score: float, criticism: str) -> Any:
    return call("give_verdict", score=score, criticism=criticism)


def open_page() -> AppTest:
    def script() -> None:
        from ui import refine as page_file

        page_file.show()

    return run(AppTest.from_function(script, default_timeout=60))


@pytest.fixture
def script(opened: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Turns of the model that the page uses."""
    turns: list[Any] = []
    model = ScriptedModel(turns=[], prompts=[])
    model.turns = turns  # pydantic has copied the list
    monkeypatch.setattr("nodes.replies.open_model", lambda name, settings: model)
    monkeypatch.setattr(session, "_models", lambda: [("scripted", "here")])
    return turns


def start(app: AppTest, task: str) -> AppTest:
    app.text_area(key="refine_task").set_value(task)
    run(app)
    button(app, "Start").click()
    return run(app)


def test_without_a_model_it_says_what_to_do(opened: Runtime) -> None:
    app = open_page()
    assert "needs a language model" in everything(app)
    assert "Nothing has been tried yet" in everything(app)
    assert "No lessons yet" in everything(app)
    assert re.search(r"Programs run in the sandbox \*\*(bubblewrap|landlock|wasm)\*\*", everything(app))
    assert button(app, "Start").disabled
    button(app, "Try an example").click()
    run(app)
    assert str(app.text_area(key="refine_task").value).startswith("Write a Python function roman")


def test_drafts_scores_and_the_best(script: list[Any]) -> None:
    script += ["one line", verdict(4, "dull"), "two lines", verdict(9.5, "fine")]
    app = start(open_page(), "Write a line.")
    told = everything(app)
    assert "Good enough" in told
    assert "Answer · score 0.95" in told
    assert [e.label for e in app.expander if e.label.startswith("Draft")] == [
        "Draft 1 · score 0.40",
        "Draft 2 · score 0.95",
    ]
    assert "dull" in told
    assert app.selectbox(key="refine_left").value == 1
    assert app.query_params["run"]


def test_drafts_and_trials_with_tools(script: list[Any]) -> None:
    app = open_page()
    app.toggle(key="refine_draft_tools").set_value(True)
    script += [call("calculator", expression="6 * 7"), "42", verdict(10, "")]
    assert "Answer · score 1.00" in everything(start(run(app), "What is six times seven?"))
    button(app, "New task").click()
    run(app)
    app.segmented_control(key="refine_method").set_value("reflexion")
    run(app)
    app.toggle(key="refine_with_tools").set_value(True)
    script += [call("calculator", expression="6 * 8"), "48", verdict(10, "")]
    told = everything(start(run(app), "What is six times eight?"))
    assert "How it came to it" in told
    assert 'Call: calculator({"expression": "6 * 8"})' in told


def test_a_person_steps_in(script: list[Any]) -> None:
    script += ["my draft", verdict(2, "bad advice"), lambda prompt: "heard: " + prompt[-1].text, verdict(9, "good")]
    app = open_page()
    app.text_area(key="refine_task").set_value("Write.")
    run(app)
    app.toggle(key="refine_step").set_value(True)
    run(app)
    button(app, "Start").click()
    run(app)
    assert "It waits. Next: criticising." in everything(app)
    button(app, "Go on").click()
    run(app)
    assert "It waits. Next: revising." in everything(app)
    next(area for area in app.text_area if area.label == "Critique 1").set_value("make it rhyme")
    button(app, "Go on").click()
    run(app)
    assert "heard: Criticism" in everything(app)
    assert "make it rhyme" in everything(app)
    button(app, "Go on").click()
    run(app)
    assert "Good enough" in everything(app)


def test_trials_tests_and_lessons(script: list[Any], opened: Runtime) -> None:
    Lessons(opened.store, "palimpsest").keep(Lesson("k", "Mind the sign.", "Write sub.", "failed", "x"))
    script += [WRONG, "Read the operator.", RIGHT]
    app = open_page()
    app.segmented_control(key="refine_method").set_value("reflexion")
    run(app)
    app.radio(key="refine_evaluator").set_value("tests")
    run(app)
    assert "the evaluator `tests` needs some" in everything(app)
    app.text_area(key="refine_tests").set_value(TESTS)
    start(app, "Write add.")
    told = everything(app)
    assert "Solved." in told
    assert "Mind the sign." in told
    assert "Read the operator." in told
    assert "FAILED assert add(1, 2) == 3  # got -1" in told
    assert [e.label for e in app.expander if e.label.startswith("Trial")] == [
        "Trial 1 · score 0.50, failed",
        "Trial 2 · score 1.00, passed",
    ]
    button(app, "Forget").click()
    run(app)
    assert len(Lessons(opened.store, "palimpsest").all()) == 1


def test_steps_and_a_failure_that_can_be_gone_on_with(script: list[Any]) -> None:
    from models.refusals import ModelFailed

    script += [call("calculator", expression="6 * 7"), ModelFailed("The endpoint is away."), "42"]
    app = open_page()
    app.segmented_control(key="refine_method").set_value("react")
    run(app)
    start(app, "What is six times seven?")
    told = everything(app)
    assert "The endpoint is away." in told
    assert "It waits. Next: thinking." in told
    button(app, "Go on").click()
    run(app)
    assert "Answered." in everything(app)
    assert "calculator" in everything(app)


def test_a_diff_shows_untrusted_text_as_text() -> None:
    shown = diff_html("a\n<script>alert(1)</script>\nc", "a\n<img src=x>\nc\nd", "Draft 1", "Draft 2")
    assert "<script>" not in shown
    assert "<img" not in shown
    assert shown.count('class="gone"') == 1
    assert shown.count('class="came"') == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_in_the_browser(endpoint: FakeOpenAI, address: str, page: Page) -> None:
    endpoint.turns = [writes(WRONG), writes(RIGHT)]
    wrong: list[Any] = []

    def told(message: Any) -> None:
        # Opened at a page's own address, Streamlit's front end first asks for its server below that address.
        if message.type == "error" and "/refine/_stcore/" not in message.location["url"]:
            wrong.append(message.text)

    page.on("console", told)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("requestfailed", lambda r: wrong.append(r.url) if "localhost" not in r.url else None)
    page.goto(f"{address}/refine")
    page.get_by_role("button", name="Try an example").click(timeout=60_000)
    rest(page)
    page.get_by_text("How it is checked").click()
    tests = page.get_by_label("Tests, an assertion in each line")
    tests.fill(TESTS)
    tests.press("Control+Enter")
    rest(page)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("its critic has accepted it")).to_be_visible(timeout=60_000)
    rest(page)
    expect(page.locator(".diff .gone")).to_have_text("    return a - b")
    expect(page.locator(".diff .came")).to_have_text("    return a + b")
    page.reload()
    expect(page.get_by_text("its critic has accepted it")).to_be_visible(timeout=60_000)
    page.set_viewport_size({"width": 420, "height": 850})
    rest(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert wrong == []


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    """For the app, which is a process of its own."""
    with fake_openai() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        yield fake
