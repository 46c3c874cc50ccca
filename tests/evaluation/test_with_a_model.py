"""Every benchmark of the methods asks a model at an endpoint: two questions each, of a fake one that always says the same."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from evaluation import __main__ as evaluation
from evaluation import results
from evaluation.asking import REPLY, ask_agent, ask_within, newest, tokens
from evaluation.nq_open import JUDGE
from evaluation.report import MOST_FAILURES, Rows, measured, work_off
from graphs.memgpt import Context, user_message
from models.chat import EndpointChat
from models.refusals import ContextOverflow, CutOff, ModelFailed
from runtime import Runtime
from settings import Settings
from tests.evaluation import small_files
from tests.models.fake_openai import Turn, fake_openai, says, writes

ANSWER = "You are a welder: 31 km, Ben."
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def always(request: dict[str, Any]) -> Turn:
    """The answer: by the call that sends it where there is one, by a verdict where that is asked for, else as text."""
    offered = [tool["function"]["name"] for tool in request.get("tools", ())]
    if "send_message" in offered:
        return says(ANSWER)
    turn = writes("Score: 5\nIt could be shorter." if "give_verdict" in offered else ANSWER)
    turn["chunks"][-1]["usage"] = USAGE
    return turn


def msc(folder: Path) -> list[str]:
    rows = [json.dumps(small_files.a_dialogue(n)) for n in range(2)]
    (folder / "msc.jsonl").write_text("\n".join(rows))
    return ["msc", "--file", str(folder / "msc.jsonl")]


def openers(folder: Path) -> list[str]:
    return ["openers", *msc(folder)[1:]]


def nq_open(folder: Path) -> list[str]:
    small_files.nq_rows(folder / "nq.jsonl", 4)
    return ["nq-open", "--file", str(folder / "nq.jsonl"), "--others", "2", "--limit", "2"]


def nested_kv(folder: Path) -> list[str]:
    return ["nested-kv", "--levels", "2", "--samples", "2"]


def locomo(folder: Path) -> list[str]:
    (folder / "locomo.json").write_text(json.dumps([small_files.a_conversation(6)]))
    return ["locomo", "--file", str(folder / "locomo.json"), "--limit", "2"]


def hotpotqa(folder: Path) -> list[str]:
    small_files.hotpot_rows(folder / "hotpot.jsonl", 2)
    methods = ("alone", "react", "self_refine", "reflexion")
    return ["hotpotqa", "--file", str(folder / "hotpot.jsonl"), "--attempts", "2", "--methods", *methods]


def humanevalpack(folder: Path) -> list[str]:
    small_files.fix_rows(folder / "fix.jsonl", 2)
    return ["humanevalpack", "--file", str(folder / "fix.jsonl"), "--attempts", "2", "--feedback", "examples"]


def quixbugs(folder: Path) -> list[str]:
    small_files.quixbugs_rows(folder / "quix.jsonl")
    return [
        "quixbugs",
        "--file",
        str(folder / "quix.jsonl"),
        "--attempts",
        "2",
        "--feedback",
        "examples",
        "--limit",
        "2",
    ]


def colbench(folder: Path) -> list[str]:
    return ["colbench", "--split", "own-backend/test", "--count", "2", "--samples", "2", "--turns", "2"]


def intervals_of(value: Any) -> list[dict[str, Any]]:
    if results.is_interval(value):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [found for item in inner for found in intervals_of(item)]


@pytest.mark.parametrize(
    "benchmark", [msc, openers, nq_open, nested_kv, locomo, hotpotqa, humanevalpack, quixbugs, colbench]
)
def test_two_questions(benchmark: Callable[[Path], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    with fake_openai() as fake:
        fake.policy = always
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        if benchmark is not locomo:  # there the way is found out, and kept for the next question
            monkeypatch.setenv("PALIMPSEST_CALLS", "native")
        command = ["evaluation", *benchmark(tmp_path), "--model", "fake", "--seed", "3", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", command)
        evaluation.main()
        asked = len(fake.requests)
        found = json.loads(out.read_text())
        monkeypatch.setattr(sys, "argv", [*command, "--resume"])
        evaluation.main()
        assert len(fake.requests) == asked > 0, "a resumed run that was finished asks nothing"
    again = json.loads(out.read_text())
    different = {name for name in found if found[name] != again[name]}
    assert different <= {"time", "command"}
    assert found["protocol"] == "native"
    assert found["seed"] == 3
    assert "fake" in (found.get("model"), found.get("agent"))
    assert all(value["low"] <= value["mean"] <= value["high"] for value in intervals_of(found) if value["n"])
    text = out.read_text()
    assert '"input_tokens": ' in text
    assert '"seconds": ' in text
    rows = [json.loads(line) for line in out.with_suffix(".rows.jsonl").read_text().splitlines()[1:]]
    assert sum(row.get("input_tokens", 0) for row in rows) > 0, "the tokens that the endpoint told are counted"


def test_several_dialogues_about_a_task_have_a_seed_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    command = (
        "evaluation colbench --split own-backend/test --count 2 --samples 3 --agent asking --vagueness 0.5".split()
    )
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(out)])
    evaluation.main()
    rows = [json.loads(line) for line in (tmp_path / "out.trajectories.jsonl").read_text().splitlines()]
    assert [(row["extra"]["sample"], row["seed"]) for row in rows] == [(n, n) for n in range(3)] * 2
    table = json.loads(out.read_text())["table"]["dialogue"]
    assert table["success"]["n"] == table["best of all"]["n"] == 2
    assert table["best of all"]["mean"] >= table["success"]["mean"]


def test_a_server_that_is_gone_leaves_no_rows_and_ends_the_run(tmp_path: Path) -> None:
    tried: list[int] = []

    def fails(n: int) -> dict[str, Any]:
        tried.append(n)
        time.sleep(0.05)
        raise ModelFailed("The endpoint does not answer.")

    rows = Rows(tmp_path / "out.json", {}, resume=False)
    work = {str(n): (lambda n=n: fails(n)) for n in range(3 * MOST_FAILURES)}
    with pytest.raises(ModelFailed, match="--resume"):
        work_off(rows, work, 1, "questions")
    assert MOST_FAILURES <= len(tried) <= MOST_FAILURES + 2
    assert rows.done == {}


def test_resuming_never_leaves_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Rows(tmp_path / "out.json", {"model": "a"}, resume=False).add("one", {"right": 1.0})
    before = (tmp_path / "out.rows.jsonl").read_text()

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Rows(tmp_path / "out.json", {"model": "a"}, resume=True)
    assert (tmp_path / "out.rows.jsonl").read_text() == before


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(arguments: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr("evaluation.nested_kv.run", stopped)
    monkeypatch.setattr(sys, "argv", ["evaluation", "nested-kv", "--out", str(tmp_path / "out.json")])
    with pytest.raises(SystemExit, match="--resume"):
        evaluation.main()


def test_a_reply_that_never_ends_is_no_answer() -> None:
    def circles() -> dict[str, Any]:
        raise CutOff("It went round in circles.")

    row = measured(circles)
    assert (row["answer"], row["input_tokens"]) == ("", 0)
    assert "circles" in row["failed"]


def test_a_row_with_a_key_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a field `key`"):
        Rows(tmp_path / "out.json", {}, resume=False).add("a", {"key": "b"})


def test_a_prompt_that_outgrows_the_window_is_cut_again() -> None:
    shown: list[int] = []

    def prompt_of(most: int) -> list[BaseMessage]:
        shown.append(most)
        return [HumanMessage(str(most))]

    def counts_double(request: dict[str, Any]) -> Turn:
        turn = writes("yes")
        turn["chunks"][-1]["usage"] = {**USAGE, "prompt_tokens": 2 * int(request["messages"][0]["content"])}
        return turn

    with fake_openai() as fake:
        fake.policy = counts_double
        model = EndpointChat(model="fake", url=fake.url, calls="native")
        for _ in range(2):
            assert ask_within(Settings(), model, prompt_of, 1_000)["read"] <= 1_000 - REPLY
        assert shown == [1_000, 400, 400], "what was learnt is kept for the next prompt"
        with pytest.raises(ContextOverflow):
            ask_within(Settings(), model, lambda most: [HumanMessage("9000")], 1_000)


def test_an_agent_whose_note_fails_has_answered(runtime: Runtime) -> None:
    sent = json.dumps({"name": "send_message", "arguments": {"message": "Nice!"}})

    def no_notes(request: dict[str, Any]) -> Turn:
        asks_for_a_note = "[note]" in request["messages"][-1]["content"]
        return {"status": 400, "body": "{}"} if asks_for_a_note else writes(sent)

    with fake_openai() as fake:
        fake.policy = no_notes
        model = EndpointChat(model="fake", url=fake.url, calls="schema")
        context = Context(agent="ada", model=model)
        row = ask_agent(runtime, "t", user_message("My dog is called Biscuit."), context)
        assert "[note]" in fake.requests[-1]["messages"][-1]["content"]
    assert (row["answer"], row["searches"]) == ("Nice!", 0)
    assert 'Call: send_message({"message": "Nice!"})' in row["transcript"]


def test_the_newest_texts_fit() -> None:
    texts = ["one two three", "four five", "six"]
    assert newest(texts, sum(map(tokens, texts))) == 3
    assert newest(texts, tokens("six")) == 1
    assert newest(texts, tokens("six") - 1) == 0


def test_a_judge_says_what_is_right_in_other_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def judging(request: dict[str, Any]) -> Turn:
        if request["messages"][0]["content"] != JUDGE:
            return always(request)
        asked.append(request["messages"][1]["content"])
        return writes("Yes." if len(asked) % 2 else "No: yes would be wrong.")

    with fake_openai() as fake:
        fake.policy = judging
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        given = [
            *nq_open(tmp_path),
            "--ways",
            "cut",
            "--model",
            "m",
            "--judge",
            "j",
            "--out",
            str(tmp_path / "out.json"),
        ]
        monkeypatch.setattr(sys, "argv", ["evaluation", *given])
        evaluation.main()
    ways = json.loads((tmp_path / "out.json").read_text())["ways"]
    assert ways["cut, 2 others"]["judged"]["mean"] == 0.5
    assert all(f"Answer: {ANSWER}" in text for text in asked)
