"""Pairs of trajectories, their files, and candidates of turns."""

import json
import random
import shutil
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import Settings
from tasks.answers import MARKER
from tasks.colbench import write_tasks
from tasks.families import FAMILIES
from tasks.kept import KeptData
from tasks.lookup import find_task
from tasks.own_backend import HeldOut
from tasks.trajectory import BadTrajectory, Trajectory, read_trajectories
from tests.conftest import said
from training.actor import house_pairs, published_pairs
from training.batch import NO_TURN
from training.candidates import Candidate, StoredTurn, stored_turns
from training.config import Habits, TrainConfig
from training.export import learnt_from
from training.messages import HIDDEN, before_turn, hidden_information, whole
from training.pairs import NoPairs, make_pairs, print_statistics
from training.policy import Policy
from training.recipe import Recipe, Tasks
from training.rft import train_rft, vain_turns, without_turns
from training.run import plan
from training.stage import Workspace
from training.tiny import make_dialogue

TASK = "own-backend/train/4/1"
QUESTIONS = {question for family in FAMILIES for decision in family.decisions for question in decision.questions}


def trajectory(score: float | None, task: str = TASK, replies: tuple[str, ...] = ("Which?", "x = 1")) -> Trajectory:
    turns = [t for reply in replies for t in (said("agent", reply), said("person", "The first."))][:-1]
    success = None if score is None else score == 1
    return Trajectory(
        task=task, kind="backend", description="A function.", turns=tuple(turns), answer=replies[-1], score=score,
        success=success, stop="answered",
    )  # fmt: skip


def test_the_released_rule() -> None:
    rows = [trajectory(s) for s in (0.3, 1.0, 1.0, 0.9)] + [trajectory(s, "own-backend/train/4/2") for s in (0.9, 0.1)]
    made = make_pairs(rows)
    assert [(a.score, b.score) for a, b in made.pairs] == [(1.0, 0.3), (1.0, 0.9)]
    assert all(a is rows[1] for a, _ in made.pairs)
    assert made.left_out == {"tasks that no dialogue solved": 1}


def test_the_margin_rule() -> None:
    rows = [trajectory(s) for s in (0.5, 0.75, 0.52, None)]
    made = make_pairs(rows, "margin", 0.1)
    assert [(a.score, b.score) for a, b in made.pairs] == [(0.75, 0.5), (0.75, 0.52)]
    assert made.left_out == {"trajectories without a score": 1}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.5, 1.0])), max_size=12))
def test_a_pair_is_of_one_task_and_the_better_comes_first(given_rows: list[tuple[str, float]]) -> None:
    rows = [trajectory(score, task) for task, score in given_rows]
    try:
        pairs = make_pairs(rows).pairs
    except NoPairs:
        best = {task: max(s for t, s in given_rows if t == task) for task, _ in given_rows}
        assert not any(best[t] == 1 and s < 1 for t, s in given_rows)
        return
    assert all(a.task == b.task and a.score == 1 and (b.score or 0) < 1 for a, b in pairs)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "none given"),
        ([trajectory(0.5), trajectory(0.5)], "1 tasks whose scores are all equal"),
        ([trajectory(1.0)], "1 tasks with one dialogue"),
        ([trajectory(None), trajectory(None)], "2 trajectories without a score"),
    ],
)
def test_no_pairs_says_why(rows: list[Trajectory], why: str) -> None:
    with pytest.raises(NoPairs, match=why):
        make_pairs(rows)


def test_a_file_that_is_broken_names_line_and_field(tmp_path: Path) -> None:
    good = json.dumps(trajectory(1.0).to_row())
    path = tmp_path / "rows.jsonl"
    row = trajectory(1.0).to_row()
    turns = row["turns"]
    for bad, why in (
        ('{"task": ', "line 2: not JSON"),
        (json.dumps({k: v for k, v in row.items() if k != "score"}), "line 2: the field score is missing"),
        (json.dumps({**row, "turns": [turns[1], turns[0], turns[2]]}), r"line 2: the field turns\[0\]"),
        (json.dumps({**row, "turns": turns[:2]}), r"line 2: the field turns\[1\]"),
        (json.dumps({**row, "turns": [*turns, turns[0]]}), r"line 2: the field turns\[3\]"),
    ):
        path.write_text(f"{good}\n{bad}\n")
        with pytest.raises(BadTrajectory, match=why):
            list(read_trajectories(path))


def test_statistics_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(trajectory(s).to_row()) + "\n" for s in (1.0, 0.5, None)))
    print_statistics(path)
    told = capsys.readouterr().out
    assert "3 trajectories of 1 tasks, 2 with a score" in told
    assert "1 pairs" in told
    assert "score 0.750" in told


def test_messages_are_what_the_agent_saw() -> None:
    row = replace(trajectory(1.0, replies=("A?", "B?", "x = 1")), max_turns=3, examples="assert f(1)")
    first, last = before_turn(row, 0), before_turn(row, 2)
    assert [m["role"] for m in first] == ["system", "user"]
    assert "assert f(1)" in first[1]["content"]
    assert "This is your last turn" not in before_turn(row, 1)[-1]["content"]
    assert "This is your last turn" in last[-1]["content"]
    assert whole(row)[:-1] == last
    task = find_task(TASK, Settings())
    seen = hidden_information(last, task)
    assert seen[1:] == last[1:]
    assert task.ground_truth in seen[0]["content"]
    assert all(fact.statement in seen[0]["content"] for fact in task.facts)
    assert task.facts[0].statement not in str(last)


def test_stored_turns_stand_once() -> None:
    rows = [trajectory(1.0, replies=("A?", "x = 1")), trajectory(0.0, replies=("A?", "x = 2"))]
    assert len(stored_turns(rows)) == 2  # the first turns are the same


def turn(*candidates: tuple[str, int, float]) -> StoredTurn:
    return StoredTurn(TASK, [{"role": "user", "content": "?"}], [Candidate(*c) for c in candidates])


def test_candidates_are_ranked_with_their_multiplicity() -> None:
    ranked = turn(("b", 2, 0.5), ("a", 1, 0.5), ("c", 1, 0.9)).ranked()
    assert [c.text for c in ranked] == ["c", "a", "b", "b"]


def test_pairs_for_the_actor_differ_in_text_and_advantage() -> None:
    pairs, none = published_pairs([turn(("a", 16, 1.0)), turn(("a", 8, 0.5), ("b", 8, 0.5)), turn(("a", 1, 0.0))], 4, 0)
    assert (pairs, none) == ([], 12)
    pairs, none = published_pairs([turn(("a", 8, 1.0), ("b", 8, 0.0))], 4, 0)
    assert [p[1:] for p in pairs] == [("a", "b")] * 4
    assert none == 0


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-3, 3).map(float)), min_size=1, max_size=6), st.integers(0, 100)
)
def test_what_is_chosen_is_of_the_upper_half(counts: list[tuple[int, float]], seed: int) -> None:
    stored = turn(*((f"t{n}", count, value) for n, (count, value) in enumerate(counts)))
    ranked = [c.text for c in stored.ranked()]
    half = len(ranked) // 2
    value = {f"t{n}": v for n, (_, v) in enumerate(counts)}
    pairs, none = published_pairs([stored], 4, seed)
    assert len(pairs) + none == 4
    for _, chosen, rejected in pairs:
        assert value[chosen] > value[rejected]
        assert chosen in ranked[:half]
        assert rejected in ranked[len(ranked) - half :]
    assert published_pairs([stored], 4, seed) == (pairs, none)
    assert Counter(p[1] for p in pairs).total() == len(pairs)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-3, 3).map(float), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([0.5, 2.0]),
    st.integers(0, 100),
)
def test_with_a_margin_like_is_compared_with_like(
    counts: list[tuple[int, float, bool]], margin: float, seed: int
) -> None:
    values = {f"{MARKER} t{n}" if answer else f"t{n}": value for n, (_, value, answer) in enumerate(counts)}
    stored = turn(*((text, counts[n][0], value) for n, (text, value) in enumerate(values.items())))
    least = margin * statistics.pstdev(c.advantage for c in stored.ranked())
    pairs, none = house_pairs([stored], 8, seed, margin)
    assert len(pairs) == 8
    assert sum(chosen == rejected for _, chosen, rejected in pairs) == none
    for _, chosen, rejected in pairs:
        assert (MARKER in chosen) == (MARKER in rejected)
        assert chosen == rejected or values[chosen] - values[rejected] >= least


@given(
    st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=6), st.integers(0, 100), st.sampled_from([0.1, 7, 50])
)
def test_a_margin_is_the_same_for_critics_of_any_scale(values: list[float], seed: int, scale: float) -> None:
    plain = turn(*((f"t{n}", 1, value) for n, value in enumerate(values)))
    scaled = turn(*((f"t{n}", 1, scale * value) for n, value in enumerate(values)))
    assert house_pairs([plain], 8, seed, 0.6) == house_pairs([scaled], 8, seed, 0.6)


def test_an_answer_is_said_as_often_as_the_start_policy_says_one() -> None:
    """Whatever its advantage: it cannot be compared with a question's."""
    stored = turn((f"{MARKER} x", 4, -9.0), ("a", 6, 1.0), ("b", 6, 0.0))
    pairs, _ = house_pairs([stored], 4_000, 0, 0.5)
    answers = sum(MARKER in chosen for _, chosen, _ in pairs)
    assert 850 < answers < 1_150  # a quarter


def test_who_is_shown_the_program_asks_what_it_leaves_open() -> None:
    """The start policy learns from such dialogues what the critic builds on."""
    idle = Habits(useful=0.0, early=0.0, shown=0.5)
    told: dict[bool, list[int]] = {True: [], False: []}
    for number in range(60):
        messages = make_dialogue(random.Random(number), (4,), 8, idle, HeldOut([]))
        asked = {m["content"] for m in messages if m["role"] == "assistant"}
        told[HIDDEN in messages[0]["content"]].append(len(asked & QUESTIONS))
    assert sum(told[True]) / len(told[True]) > 3.5
    assert sum(told[False]) / len(told[False]) < 3


def test_a_recipe_says_only_what_differs() -> None:
    recipe = Recipe.from_json('{"held_out": {"count": 9}, "critic": {"beta": 0.5}}', "r")
    assert (recipe.held_out.split, recipe.held_out.count) == ("own-backend/test", 9)
    assert (recipe.critic.beta, recipe.critic.fitting) == (0.5, Recipe().critic.fitting)
    with pytest.raises(
        ValueError, match="What is measured has tasks that are learnt from, such as own-backend/train/4/0"
    ):
        Recipe(train=Tasks(count=5), held_out=Tasks(count=5)).check_held_out()
    Recipe(train=Tasks(count=5), held_out=Tasks(split="own-backend/test", count=5)).check_held_out()


def test_a_file_of_tasks_is_read_from_its_first(tmp_path: Path) -> None:
    """Whatever tasks of our own the demonstration is measured on."""
    path = tmp_path / "mine.jsonl"
    write_tasks([find_task(id, Settings()) for id in Tasks(count=3).ids()], path)
    held = Recipe.from_json(json.dumps({"held_out": {"file": str(path), "count": 2}}), "r").held_out
    assert [find_task(id, Settings()).ground_truth for id in held.ids()] == [
        find_task(id, Settings()).ground_truth for id in Tasks(count=2).ids()
    ]
    with pytest.raises(ValueError, match=r"mine\.jsonl has 3 tasks: there is none from number 3 on"):
        replace(held, first=3).ids()


def test_a_silent_dialogue_is_counted_and_not_learnt_from(policy: Policy, tmp_path: Path) -> None:
    silent = replace(trajectory(1.0), turns=())
    history, left_out = train_rft(policy, [silent, trajectory(1.0), trajectory(0.0)], TrainConfig(), tmp_path)
    assert history
    assert left_out["dialogues in which the agent says nothing"] == 1


def kept(home: Path) -> Path:
    """What a person has kept: a wish without a reference, a solved task, and a choice between two agents."""
    data = KeptData(Settings(home=home))
    data.agree(True)
    for n, row in enumerate(
        (replace(trajectory(None), task="", description="A wish."), trajectory(1.0), trajectory(0.5))
    ):
        data.keep(row, f"run-{n}")
    data.keep_preference(trajectory(1.0, replies=("How many?", "x = 2")), trajectory(0.0, replies=("x = 3",)))
    return data.folder


def collected(folder: Path, recipe: Recipe) -> Workspace:
    """As the stage `collect` leaves a file of trajectories."""
    path = folder / "seed-0" / "collect" / "trajectories.jsonl"
    path.parent.mkdir(parents=True)
    shutil.copy(recipe.trajectories, path)
    return Workspace(folder, recipe)


def test_a_row_learns_from_as_many_replies_as_it_may_have_generated(tmp_path: Path) -> None:
    """Dialogues of two replies each; half of what SWEET-RL may generate is candidates."""
    path = tmp_path / "seed-0" / "collect" / "trajectories.jsonl"
    path.parent.mkdir(parents=True)
    leaking = replace(trajectory(1.0), turns=tuple({**turn, "leak": "fence"} for turn in trajectory(1.0).turns))
    rows = [leaking, *(trajectory(float(n % 2)) for n in range(9))]
    path.write_text("".join(json.dumps(row.to_row()) + "\n" for row in rows))
    workspace = Workspace(tmp_path, Recipe(replies=(8, 20), rows=("mtdpo", "sweet_house")))
    jobs = plan(workspace.recipe)
    learnt = {name: len(workspace.collected(jobs[f"seed-0/{name}"])) for name in ("mtdpo", "mtdpo-8", "sweet_house")}
    assert learnt == {"mtdpo": 9, "mtdpo-8": 3, "sweet_house": 4}, "without the one in which code was given away"
    assert workspace.candidates_allowed(jobs["seed-0/sweet_house-8"]) == 4


def test_each_seed_has_tasks_and_a_start_policy_of_its_own() -> None:
    recipe = Recipe(seeds=(0, 1))
    first, second = recipe.train_of(0), recipe.train_of(1)
    assert len(first) == len(second) == recipe.train.count
    assert not {*first} & {*second}
    assert {"seed-0/tiny", "seed-1/tiny"} <= set(plan(recipe))


def test_a_turn_that_drew_out_nothing_stays_in_the_context_and_leaves_the_loss(policy: Policy) -> None:
    task = find_task(TASK, Settings())
    told, vain = task.facts[0].statement, "That sounds fine so far."
    turns = (
        said("agent", "How?"),
        said("person", told),
        said("agent", "So?"),
        said("person", vain),
        said("agent", "x = 1"),
    )
    row = replace(trajectory(1.0), turns=turns, told=(task.facts[0].key,))
    assert vain_turns(row) == {1}
    rendered = policy.render(whole(row))
    masked = without_turns(rendered, vain_turns(row))
    assert masked.ids == rendered.ids
    assert set(masked.turns) == {NO_TURN, 0, 2}
    assert vain_turns(replace(row, told=())) == set(), "where nothing is known to have been told, nothing is vain"


def test_a_wish_without_a_reference_is_in_no_stage(home: Path, tmp_path: Path) -> None:
    recipe = Recipe(trajectories=str(kept(home) / "collaborations.jsonl"))
    rows = collected(tmp_path, recipe).collected(plan(recipe)["seed-0/critic-sweet_house"])
    assert [t.score for t in rows] == [1.0, 0.5]


def test_a_persons_choices_are_pairs_for_critic_and_multi_turn_dpo(home: Path, tmp_path: Path) -> None:
    folder = kept(home)
    recipe = Recipe(trajectories=str(folder / "collaborations.jsonl"), preferences=str(folder / "preferences.jsonl"))
    workspace = collected(tmp_path, recipe)
    made = workspace.pairs(workspace.collected(plan(recipe)["seed-0/mtdpo"]))
    assert [(a.score, b.score) for a, b in made.pairs] == [(1.0, 0.5), (1.0, 0.0)]


def test_a_card_says_what_the_file_held(home: Path, tmp_path: Path) -> None:
    recipe = Recipe(trajectories=str(kept(home) / "collaborations.jsonl"))
    collected(tmp_path, recipe)
    told = learnt_from(tmp_path / "seed-0", "seed-0/sweet_house", recipe)
    assert (told["dialogues"], told["tasks"], told["train"]) == (2, 1, recipe.trajectories)
    assert told["success"] == 0.5
