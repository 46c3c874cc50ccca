"""The benchmarks run on small files made here, and on the public ones where they are."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

import evaluation.__main__
from evaluation import after_eviction, fixing, lessons, msc, nested_kv, nq_open, openers, sandbox
from evaluation.asking import REPLY
from evaluation.fixing import check_programs
from evaluation.locomo import measures, rank_sessions
from intervals import interval
from memory.embedder import LocalEmbedder
from nodes.memgpt.window import estimate
from sandbox.attacks import ATTACKS
from sandbox.choose import open_sandbox
from settings import Settings
from tasks.humanevalpack import read_humanevalpack
from tasks.locomo import read_locomo
from tasks.msc import read_msc
from tasks.nested_kv import chain
from tasks.nq_open import is_right, read_nq_open
from tasks.quixbugs import as_fix_task, read_quixbugs
from tests.evaluation.small_files import a_conversation, a_dialogue, fix_rows, nq_rows, quixbugs_rows
from tests.models.fake_openai import fake_openai, writes

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT.parent / "shared" / "data"


def evaluate(*arguments: str, out: Path) -> dict[str, Any]:
    """The benchmark's result, as its command writes it; an AssertionError with what the command says, where it fails."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["evaluation", *arguments, "--out", str(out)])
        patched.chdir(ROOT)
        try:
            evaluation.__main__.main()
        except SystemExit as ended:
            raise AssertionError(ended.code) from ended
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_locomo_through_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "locomo.json"
    path.write_text(json.dumps([a_conversation(40)]))
    audit = tmp_path / "audit.json"
    audit.write_text(json.dumps([{"question_id": "locomo_0_qa0", "correct_evidence": ["D1:1"]}]))
    result = evaluate(
        "locomo", "--file", str(path), "--audit", str(audit), "--window", "3000", out=tmp_path / "out.json"
    )
    log = result["log"]
    assert (log["turns"], log["lost"], log["doubled"], log["prompts over the window"]) == (80, 0, 0, 0)
    assert log["flushes"] >= 3
    assert 2_000 < log["largest prompt"] <= 3_000
    assert result["retrieval"]["all"]["public turn any@10"]["mean"] > 0.9
    assert result["retrieval"]["single-hop"]["public turn any@10"]["n"] == 80
    before = result["before thinking"]["all"]
    assert 0.5 < before["quoted"]["mean"] <= before["in the prompt"]["mean"]
    assert read_locomo(path, audit)[0].questions[0].audited == frozenset({1})
    assert read_locomo(path)[0].questions[-1].evidence == frozenset({0, 41}), "two ids in one string"


@pytest.mark.parametrize("storage", ["recall", "archival"])
def test_nested_kv_needs_one_search_more_than_there_are_levels(tmp_path: Path, storage: str) -> None:
    result = evaluate(
        "nested-kv",
        "--levels",
        "1",
        "3",
        "--samples",
        "1",
        "--storage",
        storage,
        "--ways",
        *nested_kv.WAYS,
        out=tmp_path / "out.json",
    )
    ways = result["ways"]
    assert {way: row["right"]["mean"] for way, row in ways.items()} == {
        f"{way}, {n} records": 1.0 for n in (1, 3) for way in nested_kv.WAYS
    }
    assert [ways[f"memgpt, {n} records"]["searches"]["mean"] for n in (1, 3)] == [2.0, 4.0]


@pytest.mark.skipif(not DATA.is_dir(), reason="the public files are not here")
def test_public_nested_kv(tmp_path: Path) -> None:
    folder = DATA / "nested_kv"
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join((folder / "orderings_4_levels.jsonl").read_text().splitlines()[:10]))
    pairs = str(folder / "kv_140_keys.jsonl")
    result = evaluate("nested-kv", "--pairs", pairs, "--orderings", str(few), out=tmp_path / "out.json")
    found = result["ways"]["memgpt, 4 records"]
    assert (found["right"]["mean"], found["exact"]["mean"]) == (1.0, 1.0)


SESSIONS = 7
"""Of the first conversation: all of it takes minutes."""


@pytest.mark.skipif(not DATA.is_dir(), reason="the public files are not here")
def test_public_locomo_is_kept_whole_and_found(tmp_path: Path) -> None:
    first = json.loads((DATA / "locomo" / "locomo_conversations_1_to_5.json").read_text())[0]
    for number in range(SESSIONS + 1, 36):
        first["conversation"].pop(f"session_{number}", None)
    kept = tuple(f"D{n}:" for n in range(1, SESSIONS + 1))
    first["qa"] = [q for q in first["qa"] if all(e.startswith(kept) for e in q["evidence"])]
    path = tmp_path / "first.json"
    path.write_text(json.dumps([first]))
    result = evaluate("locomo", "--file", str(path), out=tmp_path / "out.json")
    log = result["log"]
    assert (log["lost"], log["doubled"], log["prompts over the window"]) == (0, 0, 0)
    assert result["retrieval"]["all"]["public turn share@10"]["mean"] > 0.65


def test_speed_measures_every_store_and_both_agents(tmp_path: Path) -> None:
    memory = evaluate("speed", "memory", "--points", "300", out=tmp_path / "memory.json")
    assert len({row["store"] for row in memory["results"]}) == 3
    assert all(row["hybrid ms"] > 0 and row["upsert/s"] > 0 for row in memory["results"])
    turn = evaluate("speed", "turn", "--messages", "4", "20", "--turns", "3", out=tmp_path / "turn.json")
    assert [row["messages"] for row in turn["results"]] == [4, 20]
    assert all(row[who]["bytes"]["mean"] > 0 for row in turn["results"] for who in ("memgpt", "bare"))


@pytest.mark.parametrize("arguments", [["locomo", "--file", "missing.json"], ["nested-kv", "--pairs", "missing.jsonl"]])
def test_bad_files_are_named(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "evaluation", *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "missing" in ran.stderr or "belong together" in ran.stderr


def test_measures() -> None:
    assert measures([3, 1, 2], {1, 9})["share@5"] == 0.5
    assert measures([3, 1, 2], {1, 9})["any@5"] == 1.0
    assert measures([3, 1, 2], {1, 9})["all@5"] == 0.0
    assert rank_sessions([(1, 1.0), (2, 0.8), (2, 0.7)]) == [2, 1]
    assert interval([1.0] * 5) == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 5}
    wide = interval([0.0, 1.0] * 10)
    assert 0.2 < wide["low"] < 0.5 < wide["high"] < 0.8
    assert chain([("a", "1"), ("b", "2"), ("c", "3")], [2, 0]) == [("a", "1"), ("b", "2"), ("c", "a")]


@pytest.mark.skipif(not (DATA / "humanevalpack").is_dir(), reason="the public file is not there")
def test_humanevalpack_goes_from_none_to_all_in_two_attempts(tmp_path: Path) -> None:
    file = str(DATA / "humanevalpack" / "humanevalpack_100.jsonl")
    with open_sandbox(Settings(), "auto", 1) as sandbox:
        assert check_programs(sandbox, read_humanevalpack(Path(file))) == {"right": 100, "buggy": 0}
    result = evaluate("humanevalpack", "--file", file, "--limit", "6", out=tmp_path / "out.json")
    assert {
        name: (method["first"]["mean"], method["passed"]["mean"], method["attempts"]["mean"])
        for name, method in result["methods"].items()
    } == {"self_refine": (0.0, 1.0, 2.0), "reflexion": (0.0, 1.0, 2.0), "resample": (0.0, 0.0, 1.0)}
    assert result["worse than the first"] == {"self_refine": 0, "reflexion": 0, "resample": 0}
    assert result["sandbox"]["backend"] in ("bubblewrap", "landlock", "wasm")


@pytest.mark.skipif(not (DATA / "hotpotqa").is_dir(), reason="the public file is not there")
def test_hotpotqa_oracle_and_resume(tmp_path: Path) -> None:
    file = str(DATA / "hotpotqa" / "hotpotqa_distractor_60.jsonl")
    out = tmp_path / "out.json"
    evaluate("hotpotqa", "--file", file, "--limit", "5", out=out)
    rows = out.with_suffix(".rows.jsonl")
    rows.write_text(rows.read_text() + '{"key": "react 5", "cut off by a ki')
    result = evaluate("hotpotqa", "--file", file, "--limit", "20", "--resume", out=out)
    react = result["methods"]["react"]
    assert (react["exact"]["mean"], react["searched"]["mean"], result["questions"]) == (1.0, 1.0, 20)
    assert result["stops"] == {"react": {"answered": 20}}
    assert len(rows.read_text().splitlines()) == 21
    command = [
        sys.executable,
        "-m",
        "evaluation",
        "hotpotqa",
        "--file",
        file,
        "--resume",
        "--steps",
        "9",
        "--out",
        str(out),
    ]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "another setting" in refused.stderr


@pytest.mark.skipif(not (DATA / "hotpotqa").is_dir(), reason="the public file is not there")
def test_hotpotqa_by_every_method(tmp_path: Path) -> None:
    file = str(DATA / "hotpotqa" / "hotpotqa_distractor_60.jsonl")
    methods = ("alone", "react", "self_refine", "reflexion")
    result = evaluate("hotpotqa", "--file", file, "--limit", "2", "--methods", *methods, out=tmp_path / "out.json")
    assert {method: row["exact"]["mean"] for method, row in result["methods"].items()} == dict.fromkeys(methods, 1.0)
    assert result["stops"]["self_refine"] == {"accepted": 2}
    assert result["methods"]["reflexion"]["searches"]["mean"] == 2.0


@pytest.mark.skipif(not (DATA / "quixbugs").is_dir(), reason="the public file is not there")
def test_quixbugs(tmp_path: Path) -> None:
    result = evaluate("quixbugs", "--file", str(DATA / "quixbugs" / "quixbugs_31.jsonl"), out=tmp_path / "out.json")
    assert result["buggy"] == 0
    assert result["right"] >= 28
    assert set(result["stopped"]) <= {"knapsack", "levenshtein", "sqrt"}


def in_process(benchmark: ModuleType, *arguments: str) -> dict[str, Any]:
    """A benchmark of which a part was made smaller."""
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    result: dict[str, Any] = benchmark.run(parser.parse_args(arguments))
    return result


def test_lessons_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = lessons.task_pairs()
    assert len(pairs) == len({text for pair in pairs for text in pair}) / 2 == 120
    monkeypatch.setattr(lessons, "task_pairs", lambda: [pair for n, pair in enumerate(pairs) if n % 15 < 3])
    result = in_process(lessons)
    assert result["tasks"] == 24
    for agent in result["agents"].values():
        assert agent["found"]["mean"] >= 0.9
        assert agent["foreign"] == 0


@pytest.mark.usefixtures("built")
def test_the_sandbox_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.sandbox.ATTACKS", ATTACKS[::12])  # all of them are tried by tests of the sandbox
    options = "--programs", "16", "--rounds", "2", "--backends", "wasm"
    result = in_process(sandbox, *options)
    assert set(result["speeds"]) == {"plain", "same", "wasm", "wasm, loops"}
    assert result["attacks"]["wasm"]["won"] == []
    assert result["speeds"]["wasm"]["over_same"]["mean"] > 0


def test_msc_oracle_and_resume(tmp_path: Path) -> None:
    file, out = tmp_path / "msc.jsonl", tmp_path / "out.json"
    file.write_text("".join(json.dumps(a_dialogue(n)) + "\n" for n in range(3)))
    evaluate("msc", "--file", str(file), "--limit", "1", out=out)
    rows = out.with_suffix(".rows.jsonl")
    rows.write_text(rows.read_text() + '{"key": "memgpt d1", "cut off by a ki')
    result = evaluate("msc", "--file", str(file), "--ways", *msc.WAYS, "--resume", out=out)
    assert {way: found["right"]["mean"] for way, found in result["ways"].items()} == dict.fromkeys(msc.WAYS, 1.0)
    assert result["paired"]["memgpt minus full"]["right"]["mean"] == 0.0
    assert len(rows.read_text().splitlines()) == 13


def test_msc_shows_the_newest_turns_that_fit_the_window(tmp_path: Path) -> None:
    file = tmp_path / "msc.jsonl"
    file.write_text(json.dumps(a_dialogue(0)) + "\n")
    (dialogue,) = read_msc(file)

    def prompt(most: int | None) -> list[BaseMessage]:
        return msc.plain_prompt(msc.INSTRUCTIONS, dialogue.turns, "What do I work as?", most)

    whole = prompt(None)
    assert len(whole) == len(dialogue.turns) + 2
    assert prompt(4_096) == whole
    shown = prompt(REPLY + 90)
    assert 2 < len(shown) < len(whole)
    assert shown[1:] == whole[-len(shown) + 1 :]
    assert "welder" not in " ".join(m.text for m in shown)


def test_nq_open_oracle_and_resume(tmp_path: Path) -> None:
    file, out = tmp_path / "nq.jsonl", tmp_path / "out.json"
    nq_rows(file, 6)
    evaluate("nq-open", "--file", str(file), "--others", "2", "--limit", "1", out=out)
    asked = ("--others", "2", "4", "--limit", "2", "--ways", *nq_open.WAYS, "--resume")
    result = evaluate("nq-open", "--file", str(file), *asked, out=out)
    assert {way: found["right"]["mean"] for way, found in result["ways"].items()} == {
        f"{way}, {others} others": 1.0 for others in (2, 4) for way in nq_open.WAYS
    }
    assert result["ways"]["memgpt, 4 others"]["found"]["mean"] == 1.0
    assert len(out.with_suffix(".rows.jsonl").read_text().splitlines()) == 13


def test_nq_open_cuts_every_passage_to_the_window_and_hides_no_answer_in_the_others(tmp_path: Path) -> None:
    file = tmp_path / "nq.jsonl"
    nq_rows(file, 8)
    questions = read_nq_open(file)
    passages = nq_open.among_others(questions, 0, 6)
    assert len(passages) == 7
    assert [p for p in passages if is_right(p.text, questions[0].answers)] == [questions[0].gold]
    assert nq_open.among_others(questions, 0, 6) == passages
    for window in (400, 4_096):
        prompt = nq_open.cut_prompt(questions[0].text, passages, window)
        assert sum(estimate(m.text) for m in prompt) <= window - REPLY + 20
        assert all(p.title in prompt[1].text for p in passages)
    with pytest.raises(ValueError, match="9 other passages were asked for"):
        nq_open.among_others(questions, 0, 9)


def test_openers_are_compared_with_the_nearest_sentences() -> None:
    embedder = LocalEmbedder()
    personas = ["I work as a baker.", "I have two dogs.", "I live in Turin."]
    own = openers.similarities(embedder, "I work as a baker.", "How are your dogs?", personas)
    assert own["sim-1"] == pytest.approx(1.0, abs=1e-5)
    assert 0 < own["sim-3"] < own["sim-1"]
    assert (
        own["sim-h"] < openers.similarities(embedder, "How are your two dogs?", "How are your dogs?", personas)["sim-h"]
    )
    assert openers.similarities(embedder, " ", "Hello!", personas) == {"sim-1": 0.0, "sim-3": 0.0, "sim-h": 0.0}


def test_openers_oracle(tmp_path: Path) -> None:
    file = tmp_path / "msc.jsonl"
    file.write_text("".join(json.dumps(a_dialogue(n)) + "\n" for n in range(2)))
    ways = evaluate("openers", "--file", str(file), out=tmp_path / "out.json")["ways"]
    assert {way: row["sim-h"]["mean"] for way, row in ways.items()} == pytest.approx(
        {"human": 1, "window": 1, "memgpt": 1}
    )
    assert {row["sim-1"]["n"] for row in ways.values()} == {4}, "two sessions of each, after the first"


def test_facts_after_eviction_oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_eviction, "EXCHANGES", 45)
    ways = evaluate("after-eviction", "--limit", "1", "--window", "2800", out=tmp_path / "out.json")["ways"]
    assert {way: row["right"]["mean"] for way, row in ways.items()} == {"memgpt": 1, "memgpt_unaided": 1}
    monkeypatch.setattr(after_eviction, "EXCHANGES", 3)
    with pytest.raises(AssertionError, match="choose a smaller --window"):
        evaluate("after-eviction", "--limit", "1", out=tmp_path / "other.json")


def test_quixbugs_programs_as_tasks_to_mend(tmp_path: Path) -> None:
    file = tmp_path / "quix.jsonl"
    quixbugs_rows(file)
    tasks = [as_fix_task(task) for task in read_quixbugs(file)]
    with open_sandbox(Settings(), "auto", 1) as sandbox:
        assert check_programs(sandbox, tasks) == {"right": 3, "buggy": 0}


def test_new_tries_spend_what_reflexion_spent(tmp_path: Path) -> None:
    file = tmp_path / "fix.jsonl"
    fix_rows(file, 1)
    (task,) = read_humanevalpack(file)
    arguments = argparse.Namespace(model="fake", feedback="examples")
    reflected = {"tried": ["no", "no", "no"], "input_tokens": 600, "output_tokens": 60}
    with fake_openai() as fake:
        settings = Settings(openai_base_url=fake.url, calls="native")

        def tries(*texts: str) -> list[str]:
            fake.turns = [writes(text) for text in texts]
            for turn in fake.turns:
                turn["chunks"][-1]["usage"] = {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}
            tried: list[str] = fixing.resample(settings, task, reflected, arguments)["tried"]
            return tried

        assert len(tries("a", "b", "c")) == 3, "two more for what two more trials took"
        right = f"```python\n{task.right}\n```"
        assert tries(right) == ["no", right], "and none after one that passes what is shown"
