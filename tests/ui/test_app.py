"""The web page's flows, without a browser: streamlit's AppTest on the offline model."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as st_
from streamlit.testing.v1 import AppTest

from graphs.memgpt import Context
from memory.archival import Archival
from memory.documents import Section
from memory.edge import EdgeClient
from models.local import LocalModelFailed
from nodes.memgpt.state import SMALLEST_WINDOW
from runtime import Runtime
from settings import Settings
from tests.models.fake_openai import FakeOpenAI, chunk, fake_openai, writes
from ui import session
from ui.safe_text import escaped, one_line, written_html
from ui.window_picture import recalled_html, window_html

APP = str(Path(__file__).parent.parent.parent / "app.py")


@pytest.fixture
def opened(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """The page on the test's own runtime."""
    from contextlib import ExitStack

    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.setattr(session, "_open", lambda: session.Opened(runtime, ExitStack()))
    return runtime


def open_app(**parameters: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=60)
    for name, value in parameters.items():
        app.query_params[name] = value
    return run(app)


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def say(app: AppTest, text: str) -> AppTest:
    app.chat_input[0].set_value(text)
    return run(app)


def bubbles(app: AppTest) -> list[str]:
    """The text of each message."""
    return [html.unescape(re.sub(r"<[^>]*>", "", m.get("html")[0].proto.body)) for m in app.chat_message]


def everything(app: AppTest) -> str:
    kinds: list[Any] = [
        app.get("html"),
        app.markdown,
        app.caption,
        app.info,
        app.error,
        app.warning,
        app.success,
        app.code,
    ]
    return plain("\n".join(html.unescape(str(e.value)) for kind in kinds for e in kind))


def plain(text: str) -> str:
    """Markdown without the backslashes that keep its marks plain."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def button(app: AppTest, label: str) -> Any:
    return next(b for b in app.button if plain(b.label).startswith(label))


def test_a_newcomer_is_told_what_to_do_and_that_no_model_answers(opened: Runtime) -> None:
    app = open_app()
    assert "Nothing has been said yet" in everything(app)
    assert "No language model: answers are quotations from memory" in everything(app)
    button(app, "My name is Ada").click()
    run(app)
    assert bubbles(app)[0] == "My name is Ada and my cat is called Byron."
    assert "I have kept that" in bubbles(app)[1]


def test_chat_reload_and_come_back(opened: Runtime) -> None:
    app = say(open_app(), "My cat is called Byron.")
    thread = str(app.query_params["thread"])
    again = open_app(agent="palimpsest", thread=thread)
    assert "My cat is called Byron." in bubbles(again)
    say(again, "What is my cat called?")
    assert "> My cat is called Byron." in bubbles(again)[-1]
    steps = [e.label for e in again.expander]
    assert any("archival\\_memory\\_search" in label for label in steps)
    fresh = button(again, "New conversation").click()
    assert fresh is not None
    run(again)
    assert "Nothing has been said yet" in everything(again)
    assert button(again, "My cat is called Byron.")


def test_the_window_fills_and_flushes_before_ones_eyes(opened: Runtime) -> None:
    app = open_app(window=str(SMALLEST_WINDOW))
    say(app, "My cat is called Byron.")
    for n in range(10):
        say(app, f"Note {n}: the river was high today, and the market was full of apples and pears.")
    text = everything(app)
    assert "the window begins here" in text
    assert "Last flush" in text
    say(app, "What is my cat called?")
    assert "> My cat is called Byron." in bubbles(app)[-1]


def test_the_working_context_is_edited_with_its_limit(opened: Runtime) -> None:
    app = open_app()
    human = next(a for a in app.text_area if a.label.startswith("human"))
    human.set_value("Prefers tea.")
    button(app, "Save human").click()
    run(app)
    assert next(a for a in app.text_area if a.label.startswith("human")).value == "Prefers tea."
    say(app, "Hello there.")
    state = opened.state("memgpt", str(app.query_params["thread"]))
    assert state["working_context"]["human"] == "Prefers tea."
    next(a for a in app.text_area if a.label.startswith("human")).set_value("x" * 2_001)
    button(app, "Save human").click()
    run(app)
    assert "Nothing was saved" in everything(app)


def test_agents_are_apart(opened: Runtime) -> None:
    say(open_app(), "A secret of the first.")
    other = open_app(agent="bob")
    assert "Nothing has been said yet" in everything(other)
    assert "Context.agent='no/name'" in everything(open_app(agent="no/name"))


def test_a_failing_model_is_told_and_the_message_kept(opened: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.refusals import ModelFailed

    def fails(*_: Any, **__: Any) -> None:
        raise ModelFailed("The endpoint is down: start it.")

    with monkeypatch.context() as broken:
        broken.setattr("nodes.memgpt.think.reply_to", fails)
        app = say(open_app(), "Remember the milk.")
    assert "The endpoint is down: start it." in everything(app)
    assert "The last turn did not end" in everything(app)
    assert "Remember the milk." in bubbles(app)
    button(app, "Go on with it").click()
    run(app)
    assert "I have kept that" in bubbles(app)[-1]


@pytest.fixture
def endpoint(opened: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    """A server with one model, which the side bar finds."""
    with fake_openai() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        monkeypatch.setenv("PALIMPSEST_CALLS", "schema")
        opened.settings = Settings()
        yield fake


def test_what_a_turn_took_and_thought_is_shown(endpoint: FakeOpenAI) -> None:
    call = json.dumps({"name": "send_message", "arguments": {"message": "Hello, Ada."}})
    usage = {"prompt_tokens": 1_200, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 900}}
    thought = [chunk({"reasoning_content": "She says "}), chunk({"reasoning_content": "**hello**."})]
    endpoint.turns = [{"chunks": [*thought, *writes(call)["chunks"], {**chunk({}), "choices": [], "usage": usage}]}]
    app = say(open_app(), "Hello.")
    assert "it calls tools as JSON, by a schema" in everything(app)
    assert bubbles(app)[-1] == "Hello, Ada."
    assert "The last turn read 1,200 tokens, 75% of them from the server's cache, and wrote 30." in everything(app)
    assert next(e for e in app.expander if e.label.startswith("What it thought")).code[0].value == "She says **hello**."
    endpoint.turns = [writes(call), writes("no")]
    say(app, "And again.")
    assert "She says" not in json.dumps(endpoint.requests), "no thought is in a later prompt"


def test_what_was_not_sent_is_delivered_and_said_so(endpoint: FakeOpenAI) -> None:
    endpoint.turns = [writes("I should greet her."), writes("I greet her."), writes('{"name": "x"}'), writes("Hi.")]
    app = say(open_app(), "Hello.")
    assert bubbles(app)[-1].startswith("I greet her.")
    assert "It wrote this and sent nothing: shown here so that you have an answer." in everything(app)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('{"name": "send_mess', ""),
        ('{"name": "send_message", "arguments": {"message": "Hel', "Hel ▌"),
        ('{"name": "archival_memory_search", "arguments": {"que', "archival\\_memory\\_search …"),
        ("I wonder", "I wonder"),
        ('```json\n{"name": "send_message", "arguments": {"message": "Hel', "Hel ▌"),
        ("```json\n", ""),
        ('{"name": "send_message", "arguments": 3}', "▌"),
        ("{", ""),
        ("{}", ""),
    ],
)
def test_a_call_that_is_written_as_json_streams_as_a_call(written: str, shown: str) -> None:
    def page(text: str) -> None:
        import streamlit

        from ui.chat import _draw_text

        _draw_text(streamlit.empty(), text)

    app = run(AppTest.from_function(page, args=(written,)))
    seen = [e.value for e in [*app.caption, *app.get("html")]]
    assert len(seen) == bool(shown)
    assert shown in "".join(seen)


def test_a_small_model_is_offered_fetched_when_asked_and_stopped(
    opened: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def fetch(settings: Settings, progress: Any) -> None:
        progress(5, 10)
        done.append("fetched")

    monkeypatch.setattr("models.local.is_installed", lambda: True)
    monkeypatch.setattr("models.local.is_listening", lambda: False)
    monkeypatch.setattr("models.local.fetch", fetch)
    monkeypatch.setattr("models.local.start", lambda settings: done.append("started"))
    app = open_app()
    offer = button(app, "Get a small model (1.1 GB)")
    assert not done, "nothing is fetched unasked"
    monkeypatch.setattr("models.local.is_ours", lambda settings: "started" in done)
    monkeypatch.setattr("models.local.stop", lambda settings: done.remove("started"))
    offer.click()
    run(app)
    assert done == ["fetched", "started"]
    button(app, "Stop the small model").click()
    run(app)
    assert done == ["fetched"]
    assert button(app, "Get a small model")


def test_a_small_model_that_cannot_be_had_says_why(opened: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise LocalModelFailed("There is *no* room.")

    monkeypatch.setattr("models.local.is_installed", lambda: True)
    monkeypatch.setattr("models.local.is_listening", lambda: False)
    monkeypatch.setattr("models.local.fetch", fails)
    app = open_app()
    button(app, "Get a small model").click()
    run(app)
    assert "There is *no* room." in everything(app)
    assert "No language model" in everything(app), "the offline model stays"
    monkeypatch.setattr("models.local.is_installed", lambda: False)
    assert "run `make model`" in everything(run(app))


def memory(runtime: Runtime) -> AppTest:
    def page() -> None:
        from ui import memory as page_file

        page_file.show()

    return AppTest.from_function(page, default_timeout=60)


def test_the_memory_page_searches_pages_and_shows_what_left(opened: Runtime) -> None:
    app = memory(opened)
    run(app)
    assert "Nothing has been said to this agent yet" in everything(app)
    context = Context(agent="palimpsest", model="offline", window=SMALLEST_WINDOW)
    for n in range(12):
        opened.run("memgpt", "t", f"Note {n}: Apples and pears from the market by the river.", context)
    app = memory(opened)
    app.query_params["thread"] = "t"
    run(app)
    assert "**24** found · 1 to 10" in everything(app)
    app.text_input(key="recall_text").set_value("apples")
    run(app)
    assert "**12** found · 1 to 10" in everything(app)
    next(b for b in app.button if b.label == "Next →").click()
    run(app)
    assert "**12** found · 11 to 12" in everything(app)
    app.toggle(key="recall_case").set_value(True)
    run(app)
    assert "No message matches" in everything(app)
    app.toggle(key="recall_case").set_value(False)
    app.segmented_control(key="recall_how").set_value("meaning")
    run(app)
    assert "found · 1 to 10" in everything(app)
    assert "messages have left" in everything(app)


def test_documents_are_listed_and_deleted(opened: Runtime) -> None:
    Archival(opened.store, "palimpsest").ingest("tea.md", [Section("Oolong is half oxidised.", "Tea")])
    app = memory(opened)
    run(app)
    assert "tea.md" in everything(app).replace("\\", "")
    button(app, "Delete").click()
    run(app)
    assert "No documents yet" in everything(app)


def test_a_memory_that_another_process_has_open_is_used_with_it(home: Path) -> None:
    from runtime import open_runtime

    st.cache_resource.clear()
    with open_runtime(Settings(home=home)) as runtime:
        runtime.run("memgpt", "t", "My cat is called Byron.", Context(model="offline"))
        assert "My cat is called Byron." in bubbles(open_app(agent="palimpsest", thread="t"))
    st.cache_resource.clear()


def test_a_memory_that_nobody_serves_stops_the_page_with_advice(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.shared.TAKES_OVER_IN", 0.1)
    st.cache_resource.clear()
    holder = EdgeClient(home / "memory")
    app = AppTest.from_file(APP, default_timeout=60).run()
    assert "is open in another process" in everything(app)
    holder.close()
    button(app, "Try again").click()
    app.run()
    assert "Nothing has been said yet" in everything(app)
    st.cache_resource.clear()


# ---- what the pages are made of --------------------------------------------------------------------------------------


MARKS = st_.sampled_from(
    ["*", "**", "_", "__", "`", "``", "```", "~~~", "\n", "\n\n", "# ", "> ", "- ", "1. ", "a", "b c", " ", "  ", "    ", "\t",
     "\\", "<b>", "<img src=http://evil/x>", "&amp;", "![x](http://evil/?q=s)", "[l](http://evil)", "$", "$$", ":red[", "]", "\r\n",
     ":100:", "-->", "http://evil/p", "|", "\n---\n", "\n===\n"]
)  # fmt: skip


TEXTS = st_.lists(MARKS, min_size=1, max_size=14).map("".join)


@given(TEXTS)
def test_what_a_model_writes_is_shown_as_it_was_written(text: str) -> None:
    shown = written_html(text)
    assert html.unescape(re.sub(r"<[^>]*>", "", shown)) == text.replace("\r\n", "\n")
    assert {tag.split()[0].strip("</>") for tag in re.findall(r"<[^>]*>", shown)} <= {"div", "span", "em", "strong"}


def test_code_and_emphasis_have_their_look() -> None:
    assert "<strong>" in written_html("**bold**")
    assert "<em>" not in written_html("a `*b*` c")
    assert "monospace" in written_html("```c\n#include <vector>\n```")


@pytest.mark.parametrize(
    "text", ["![x](http://evil)", "3*4*5", ":100:", "dict:red[0]", "costs $5 and $6", "<b>", "a -> b", "[a](b)"]
)
def test_a_message_of_an_error_is_plain(text: str) -> None:
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped(text)) == text
    assert not re.search(r"(?<!\\)[*_`\[\]<>$:]", escaped(text))


def test_labels_are_one_plain_line() -> None:
    assert one_line("a\nb *c* [d](e)") == "a b \\*c\\* \\[d\\]\\(e\\)"
    assert len(one_line("x" * 500)) == 80


def test_a_quote_is_shown_with_its_day_and_score_and_is_never_markup() -> None:
    from nodes.memgpt.state import Recalled

    item: Recalled = {
        "key": "k", "storage": "archival", "speaker": "", "author": "", "source": "<b>.txt", "time": "2026-01-05T10:00:00+00:00",
        "text": "<img src=http://evil>", "trust": "outside", "score": 1.4,
    }  # fmt: skip
    shown = recalled_html(item)
    assert "2026-01-05 · &lt;b&gt;.txt" in shown
    assert "&lt;img src=http://evil&gt;" in shown
    assert "width:100%" in shown
    assert "you said" in recalled_html({**item, "storage": "recall", "speaker": "user"})


def test_the_picture_is_to_scale_and_told_in_words() -> None:
    from nodes.memgpt.window import Usage

    picture = window_html(Usage(1_000, 500, 0, 0, 2_596, 8_192), Context())
    assert "instructions 1000 tokens" in picture.lower()
    assert "width:12.21%" in picture
    assert "left:70.00%" in picture
    assert "<b>50%</b> of 8,192 tokens" in picture
    assert "The last turn" not in picture
    without = window_html(Usage(1_000, 500, 0, 0, 2_596, 8_192), Context(), {"read": 1_200, "cached": 0, "written": 9})
    assert "The last turn read 1,200 tokens, and wrote 9." in without


def test_what_is_to_be_forgotten_is_shown_first_and_proved_gone(opened: Runtime) -> None:
    say(open_app(), "My cat is called Byron.")
    app = memory(opened)
    run(app)
    app.text_input(key="forget_text").set_value("Byron")
    button(app, "See what would go").click()
    run(app)
    assert "recall storage: My cat is called Byron." in everything(app)
    button(app, "Forget for good").click()
    run(app)
    text = everything(app)
    assert "nothing of it was found" in text
    assert opened.store.find(("palimpsest", "message"), "Byron").total == 0
    again = memory(opened)
    run(again)
    button(again, "See what would go").click()
    run(again)
    assert "Say first what it is." in everything(again)
