"""Dialogues of a policy through the collaborate graph, in step."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from graphs import collaborate
from models.scripted import PolicyModel
from settings import Settings
from tasks.lookup import find_task, store_tasks
from tests.conftest import said
from tests.training.conftest import stir
from tests.training.test_pairs import trajectory
from training.chat import open_chat, run_lockstep
from training.collect import collect, leak_rate, take
from training.config import LoadConfig, RolloutConfig
from training.evaluate import questions, row_of
from training.generate import generate
from training.load import load_policy
from training.policy import Policy
from training.stage import read_rows

TASKS = [f"own-backend/train/3/{n}" for n in range(3)]


def test_replies_do_not_depend_on_how_many_are_sampled_together_when_greedy(policy: Policy) -> None:
    stir(policy)
    prompts = [policy.prompt([{"role": "user", "content": text}]) for text in ("A", "Which one, please?", "A", "x = 1")]
    together = generate(policy, prompts, most=12, temperature=0, seed=0)
    for prompt, reply in zip(prompts, together, strict=True):
        assert generate(policy, [prompt], most=12, temperature=0, seed=0) == [reply]
        ids = list(prompt)
        for token in reply:  # without a cache
            assert int(policy.model(torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(token)
        assert len(reply) == 12 or reply[-1] in policy.ends()
        assert not set(reply[:-1]) & policy.ends()


def test_sampling_follows_the_distribution_and_the_seed(policy: Policy) -> None:
    prompt = policy.prompt([{"role": "user", "content": "A"}])
    first = [r[0] for r in generate(policy, [prompt] * 4000, most=1, temperature=1.0, seed=5)]
    assert first == [r[0] for r in generate(policy, [prompt] * 4000, most=1, temperature=1.0, seed=5)]
    assert first != [r[0] for r in generate(policy, [prompt] * 4000, most=1, temperature=1.0, seed=6)]
    chances = torch.softmax(policy.model(torch.tensor([prompt])).logits[0, -1].detach(), -1)
    seen = torch.bincount(torch.tensor(first), minlength=len(chances)) / len(first)
    assert float((seen - chances).abs().sum()) / 2 < 0.15  # total variation


def test_jobs_in_step_are_answered_together_and_in_order() -> None:
    batches: list[list[str]] = []

    def answer(numbers: Any, prompts: Any) -> list[AIMessage]:
        batches.append([p[-1]["content"] for p in prompts])
        return [AIMessage(f"re {p[-1]['content']}") for p in prompts]

    def job(number: int, turns: int) -> Any:
        def talk(chat: BaseChatModel) -> list[str]:
            return [chat.invoke(f"{number}.{turn}").text for turn in range(turns)]

        return talk

    made = run_lockstep([job(n, turns) for n, turns in enumerate((2, 0, 3))], answer)
    assert made == [["re 0.0", "re 0.1"], [], ["re 2.0", "re 2.1", "re 2.2"]]
    assert batches == [["0.0", "2.0"], ["0.1", "2.1"], ["2.2"]]


@pytest.mark.timeout(20)
def test_a_job_or_a_model_that_fails_ends_all() -> None:
    def fails(chat: BaseChatModel) -> None:
        raise ValueError("this job")

    with pytest.raises(ValueError, match="this job"):
        run_lockstep([fails, lambda chat: chat.invoke("a")], lambda _, prompts: [AIMessage("b") for _ in prompts])

    def full(numbers: Any, prompts: Any) -> list[AIMessage]:
        raise MemoryError

    with pytest.raises(MemoryError):
        run_lockstep([lambda chat: chat.invoke("a")] * 3, full)
    assert threading.active_count() < 20


def test_collecting_goes_on_after_whole_groups(base: Path, tmp_path: Path) -> None:
    policy = load_policy(base, merged=True)
    rollouts = RolloutConfig(max_turns=2, most=8, group=2, rows=2, seed=3)
    whole = collect(policy, TASKS, 2, rollouts, tmp_path / "a.jsonl", "a")
    assert [t.task for t in whole] == TASKS * 2
    assert all(t.max_turns == 2 and t.agent == str(base) for t in whole)
    lines = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_text("".join(lines[:3]) + lines[3][:20])  # killed in its second group
    assert collect(policy, TASKS, 2, rollouts, tmp_path / "b.jsonl", "b") == whole
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    fewer = collect(policy, TASKS, 2, rollouts, tmp_path / "c.jsonl", "c", most=5)
    assert fewer == whole[: len(fewer)]
    assert sum(len(t.replies) for t in fewer[:-2]) < 5 <= sum(len(t.replies) for t in fewer)
    bare = store_tasks([replace(find_task(TASKS[0], Settings()), facts=())], "bare", Settings())
    with pytest.raises(ValueError, match="has no facts, of which the person of rules tells"):
        collect(policy, bare, 1, rollouts, tmp_path / "d.jsonl", "d")


def test_a_model_plays_the_person_of_a_task_without_facts(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as public ColBench's; what it gives away is counted, and not learnt from."""
    bare = store_tasks(
        [replace(find_task(id, Settings()), facts=(), stated=()) for id in TASKS[:2]], "bare", Settings()
    )
    asked: list[str] = []

    def person(prompt: Sequence[BaseMessage]) -> str:
        asked.append(prompt[0].text)
        return "It is five." if len(asked) % 2 else "return x * 5"

    monkeypatch.setattr("nodes.collaborate.reply.open_person", lambda model, settings: PolicyModel(policy=person))
    policy = load_policy(base, merged=True)
    rollouts = RolloutConfig(person="model", person_model="somebody", max_turns=2, most=8, group=2, rows=2)
    made = collect(policy, bare, 2, rollouts, tmp_path / "a.jsonl", "a")
    assert {t.person for t in made} == {"somebody"}
    assert sum(text.startswith("You write down what a person wants") for text in asked) >= 2, "of each task once"
    assert leak_rate(made) == sum(t.leaks for t in made) / sum(len(t.turns) // 2 for t in made)


def test_a_policy_in_the_graph_of_everybody(base: Path) -> None:
    context = collaborate.Context(model=open_chat(base), person="rules", max_turns=2)
    state = collaborate.graph.invoke({"task": TASKS[0]}, context=context)
    assert state["stop"] in ("answered", "turn_limit")
    assert state["output_tokens"] > 0


def test_questions_by_their_use() -> None:
    row = trajectory(1.0, replies=("a?", "b?", "c?", "x"))
    replies = ("One. Two.", "One.", "I do not know.")
    turns = tuple(said("person", replies[n // 2]) if n % 2 else t for n, t in enumerate(row.turns))
    changed = type(row)(**{**row.__dict__, "turns": turns})
    assert questions(changed, ["One.", "Two."]) == {"useful": 1, "redundant": 1, "wasted": 1}
    assert row_of(changed)["turns"] == 4


def test_a_dialogue_longer_than_the_window_ends_without_an_answer(base: Path, tmp_path: Path) -> None:
    policy = load_policy(base, loading=LoadConfig(window=120), merged=True)
    made = collect(policy, TASKS, 1, RolloutConfig(max_turns=3, most=40, group=3, rows=3), tmp_path / "a.jsonl", "a")
    assert [t.stop for t in made] == ["turn_limit"] * 3
    assert {t.answer for t in made} == {""}


def test_a_long_prompt_cuts_no_other_reply(policy: Policy) -> None:
    policy.window = 40
    policy.model.generation_config.eos_token_id = None
    prompts = [[7] * 5, [7] * 38, [7] * 40]
    policy.ends = lambda: {-1}  # type: ignore[method-assign]
    assert [len(r) for r in generate(policy, prompts, most=20, temperature=0, seed=0)] == [20, 2, 0]
    assert generate(policy, prompts[2:], most=20, temperature=0, seed=0) == [[]]


def test_lines_are_those_of_the_file_alone(base: Path, tmp_path: Path) -> None:
    row = trajectory(1.0, replies=("one\u2028two\x85", "x"))
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(row.to_row(), ensure_ascii=False) + "\n", encoding="utf-8")
    assert take(path) == [row]
    assert read_rows(path)[0]["turns"][0]["content"] == "one\u2028two\x85"
