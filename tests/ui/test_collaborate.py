"""The page "Collaborate": with AppTest and a scripted model, then as a person at a browser and a fake endpoint."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from models.scripted import ScriptedModel
from runtime import Runtime
from sandbox.html import encode
from settings import Settings
from tasks.answers import MARKER
from tasks.lookup import find_task
from tests.models.fake_openai import FakeOpenAI, writes
from tests.sandbox.test_html import available
from tests.ui.test_app import button, everything, opened, run
from tests.ui.test_browser import CHROMIUM, address, page, rest
from tests.ui.test_refine import endpoint
from ui import session
from ui.page_picture import differences, divided

__all__ = ["address", "endpoint", "opened", "page"]

TASK = find_task("own-backend/train/3/1", Settings())
WRONG = TASK.ground_truth.replace("return ", "return 1 + ")


def program(text: str) -> str:
    return f"```python\n{text}```"


def _page() -> None:
    from ui import collaborate as page_file

    page_file.show()


def open_page() -> AppTest:
    return run(AppTest.from_function(_page, default_timeout=60))


@pytest.fixture
def script(opened: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Turns of the model that the page uses."""
    turns: list[Any] = []
    model = ScriptedModel(turns=[], prompts=[])
    model.turns = turns
    monkeypatch.setattr("nodes.replies.open_model", lambda name, settings: model)
    monkeypatch.setattr(session, "_models", lambda: [("one", "here"), ("other", "here")])
    return turns


def press(app: AppTest, label: str) -> AppTest:
    button(app, label).click()
    return run(app)


def test_without_a_model_it_says_what_to_do(opened: Runtime) -> None:
    app = open_page()
    assert "needs a language model" in everything(app)
    assert button(app, "Start").disabled
    assert "average" in everything(app)
    app.session_state.collab_source = "own"
    run(app)
    assert "Say what you want" in everything(app)


def test_a_person_plays_tests_and_is_asked_for_consent_once(script: list[Any], home: Path) -> None:
    script += [
        f"Like this?\n{program(WRONG)}",
        f"{MARKER}\n{program(TASK.ground_truth)}",
        f"{MARKER}\n{program(WRONG)}",
    ]
    app = press(open_page(), "Start")
    told = everything(app)
    assert all(fact.statement in told for fact in TASK.facts)
    app = press(app, "Run the tests")
    assert "0 of 10 tests pass" in everything(app)
    assert "It gives another value" in everything(app)
    app.chat_input[0].set_value("No, one less.")
    run(app)
    assert "Solved" in everything(app)
    assert "10 of 10 tests pass" in everything(app)
    assert not (home / "trajectories").exists()
    app = press(app, "Yes, keep them")
    rows = (home / "trajectories" / "collaborations.jsonl").read_text().splitlines()
    assert [json.loads(r)["person"] for r in rows] == ["human"]
    run(app)
    app = press(app, "New task")
    app = press(app, "Start")
    assert "Not solved" in everything(app)
    assert not [b for b in app.button if b.label == "Yes, keep them"]
    assert len((home / "trajectories" / "collaborations.jsonl").read_text().splitlines()) == 2


def test_a_simulated_person_is_watched(script: list[Any]) -> None:
    question = "How should the result be rounded? What happens with missing values?"
    script += [f"He may want euros. OUTPUT: {question}", f"{MARKER}\n{program(TASK.ground_truth)}"]
    app = open_page()
    app.radio(key="collab_person").set_value("rules")
    app = press(run(app), "Start")
    assert "Solved" in everything(app)
    assert "He may want euros." in everything(app)


def test_a_wish_of_ones_own(script: list[Any]) -> None:
    script += [f"{MARKER}\n{program('def f(x): return 2 * x')}"] * 2
    app = open_page()
    app.session_state.collab_source = "own"
    run(app)
    app.text_area(key="collab_wish").set_value("Double it. The function is called f.")
    app.text_area(key="collab_truth").set_value("def f(x):\n    return x * 2")
    run(app)
    assert "write at least one call" in everything(app)
    assert button(app, "Start").disabled
    app.text_area(key="collab_calls").set_value("f(1)\nf(-2)")
    app = press(run(app), "Start")
    assert "2 of 2 tests pass" in everything(app)
    app = press(app, "New task")
    app.session_state.collab_source = "own"
    run(app)
    app.text_area(key="collab_wish").set_value("Double it.")
    app = press(run(app), "Start")
    assert "no hidden reference, so there is no score" in everything(app)


def test_a_blind_comparison_is_kept_as_a_pair(script: list[Any], home: Path) -> None:
    script += [f"{MARKER}\n{program(WRONG)}", f"{MARKER}\n{program(TASK.ground_truth)}"]
    app = open_page()
    app.session_state.collab_view = "compare"
    app = press(run(app), "Let both work")
    assert "Which did better?" in everything(app)
    assert "one, score" not in everything(app)
    assert "other, score" not in everything(app)
    app = press(app, "Agent B")
    assert "score 1.00" in everything(app)
    app = press(app, "Yes, keep them")
    pair = json.loads((home / "trajectories" / "preferences.jsonl").read_text())
    assert (pair["chosen"]["score"], pair["rejected"]["score"]) == (1.0, 0.0)
    assert {pair["chosen"]["agent"], pair["rejected"]["agent"]} == {"one", "other"}
    run(app)
    assert len((home / "trajectories" / "preferences.jsonl").read_text().splitlines()) == 1
    app = press(app, "Another comparison")
    assert button(app, "Let both work")


def test_both_sides_of_a_comparison_talk_with_the_same_person(
    script: list[Any], opened: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[Any] = []
    run_machine = opened.run

    def recording(machine: Any, thread: str, given: Any, context: Any) -> Any:
        contexts.append(context)
        return run_machine(machine, thread, given, context)

    monkeypatch.setattr(opened, "run", recording)
    script += [f"{MARKER}\n{program(TASK.ground_truth)}"] * 2
    app = open_page()
    app.session_state.collab_view = "compare"
    press(run(app), "Let both work")
    assert {c.model for c in contexts} == {"one", "other"}
    assert len({(c.person, c.person_model) for c in contexts}) == 1
    assert contexts[0].person_model


def test_a_model_that_fails_is_told_and_can_be_gone_on_with(script: list[Any]) -> None:
    from models.refusals import ModelFailed

    script += [ModelFailed("The endpoint is away."), f"{MARKER}\n{program(TASK.ground_truth)}"]
    app = press(open_page(), "Start")
    assert "The endpoint is away." in everything(app)
    app = press(app, "Go on")
    assert "Solved" in everything(app)


def test_who_did_not_play_the_person_is_not_told_what_is_hidden(script: list[Any], opened: Runtime) -> None:
    from graphs import collaborate

    script += ["How is it rounded?"]
    context = collaborate.Context(person="rules", max_turns=4)
    list(opened.stream("collaborate", "stopped", TASK.task_id, context, pause_after=["propose"]))
    late = AppTest.from_function(_page, default_timeout=60)
    late.query_params["run"] = "stopped"
    told = everything(run(late))
    assert button(late, "Go on")
    assert not any(fact.statement in told for fact in TASK.facts)
    assert not late.chat_input


def test_an_address_of_a_run_that_never_began(script: list[Any], opened: Runtime) -> None:
    from graphs import collaborate

    with pytest.raises(ValueError):
        opened.run("collaborate", "gone", "none/1", collaborate.Context())
    app = AppTest.from_function(_page, default_timeout=60)
    app.query_params["run"] = "gone"
    assert button(run(app), "Start")


def test_pictures_of_differences() -> None:
    import numpy as np

    from sandbox.html import RenderedPage as Drawn
    from sandbox.html import decode

    white, black = (Drawn(encode(np.full((20, 40, 3), shade, np.uint8)), ()) for shade in (255, 0))
    half = decode(divided(white, black, 50))
    assert (half[0, 0].tolist(), half[0, 39].tolist()) == ([255, 255, 255], [0, 0, 0])
    picture, share = differences(white, black)
    assert share == 1.0
    assert differences(white, white)[1] == 0.0
    assert decode(picture).shape == (20, 40, 3)


@pytest.mark.skipif(CHROMIUM is None or not available(), reason="no Chromium or no bubblewrap on this machine")
def test_in_the_browser(endpoint: FakeOpenAI, address: str, page: Page) -> None:
    wrong: list[Any] = []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("requestfailed", lambda r: wrong.append(r.url) if "localhost" not in r.url else None)
    design = find_task("own-frontend/train/4/1", Settings())
    first = design.ground_truth.replace("grid-cols", "grid-colx")
    page.goto(address)
    rest(page)
    page.get_by_role("link", name="Collaborate").click()
    rest(page)
    endpoint.turns = [writes(f"Like this?\n{program(WRONG)}"), writes(f"{MARKER}\n{program(TASK.ground_truth)}")]
    page.get_by_role("button", name="Start").press("Enter")
    expect(page.get_by_text("What you know, and the agent does not")).to_be_visible()
    rest(page)
    page.get_by_role("button", name="Run the tests").click()
    expect(page.get_by_text("0 of 10 tests pass")).to_be_visible()
    rest(page)
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("No, one less.")
    box.press("Enter")
    expect(page.get_by_text("Solved: all hidden tests pass.")).to_be_visible()
    rest(page)
    page.reload()
    expect(page.get_by_text("Solved: all hidden tests pass.")).to_be_visible()
    rest(page)
    page.get_by_role("button", name="No", exact=True).click()
    expect(page.get_by_text("Not kept as training data")).to_be_visible()
    rest(page)
    page.get_by_role("button", name="New task").click()
    rest(page)
    page.get_by_text("A web page", exact=True).click()
    rest(page)
    page.get_by_text("A simulated person, by rules").click()
    rest(page)
    endpoint.turns = [writes(first), writes(f"{MARKER}\n{design.ground_truth}")]
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text(re.compile("Likeness to the hidden page"))).to_be_visible()
    rest(page)
    page.get_by_text("Before and after").click()
    expect(page.get_by_role("slider")).to_be_visible()
    rest(page)
    page.get_by_role("slider").press("ArrowRight")
    rest(page)
    page.get_by_text("What changed", exact=True).click()
    expect(page.get_by_text(re.compile("of the picture changed"))).to_be_visible()
    page.set_viewport_size({"width": 420, "height": 850})
    rest(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    # Reloaded below the root, Streamlit first looks for two of its own addresses there.
    assert [told for told in wrong if "404" not in told] == []
