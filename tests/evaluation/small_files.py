"""Small files of each benchmark's form, made up here."""

import json
from pathlib import Path
from typing import Any


def a_conversation(turns: int) -> dict[str, Any]:
    """A LoCoMo row: two sessions, in which the speakers also lead, and speak twice in a row."""
    order = ["Ada", "Ben", "Ada", "Ada", "Ben", "Ben"]
    things = ["violin", "teapot", "bicycle", "lantern", "compass", "umbrella", "telescope", "typewriter"]
    talk: dict[str, Any] = {"speaker_a": "Ada", "speaker_b": "Ben"}
    questions = []
    for session in (1, 2):
        rows = []
        for n in range(turns):
            thing = f"{things[(n + session) % len(things)]} number {session}{n}"
            speaker = order[(n + session) % len(order)]
            rows.append(
                {"speaker": speaker, "dia_id": f"D{session}:{n}", "text": f"I have bought the {thing} at last."}
            )
            questions.append(
                {
                    "question": f"Who has bought the {thing}?",
                    "answer": speaker,
                    "evidence": [f"D{session}:{n}"],
                    "category": 4,
                }
            )
        talk[f"session_{session}"] = rows
        talk[f"session_{session}_date_time"] = f"1:56 pm on {session} May, 2023"
    questions.append({"question": "What else?", "answer": "", "evidence": ["D1:0; D2:1"], "category": 1})
    return {"sample_id": "made-up", "conversation": talk, "qa": questions}


def a_dialogue(number: int) -> dict[str, Any]:
    """A row of Multi-Session Chat, in which the person says in the first of three sessions what they work as."""
    job = ["welder", "baker", "nurse"][number]
    sessions = [
        [
            {"speaker": "A", "text": f"Hi! I work as a {job}.", "fact": f"I work as a {job}."},
            {"speaker": "B", "text": "I work from home.", "fact": "I work from home."},
        ],
        *(
            [{"speaker": who, "text": f"Turn {n} of day {day} about the weather."} for n, who in enumerate("BABAAB")]
            for day in range(2)
        ),
    ]
    return {"id": f"d{number}", "personas": [[f"I am a {job}."], ["I work from home."]], "sessions": sessions}


def nq_rows(path: Path, count: int) -> None:
    """Questions about made-up rivers, each with the passage that answers it."""
    rivers = "Olm Ister Vane Tarn Ured Peel Ohre Sava".split()[:count]
    rows = [
        {
            "question": f"how long is the river {river}",
            "answers": [f"{n + 3}1 km"],
            "ctxs": [
                {"title": river, "text": f"The {river} is a river of {n + 3}1 km in the north. " * 3, "isgold": True}
            ],
        }
        for n, river in enumerate(rivers)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def hotpot_rows(path: Path, count: int) -> None:
    """Questions about made-up towns, each over three pages of which two answer it."""
    towns = "Arn Bex Cley Dorn".split()[:count]
    rows = [
        {
            "question": f"On which river is the town where the poet of {town} was born?",
            "answer": f"The {town}water",
            "supporting_facts": {"title": [f"Poet of {town}", town], "sent_id": [0, 0]},
            "context": {
                "title": [f"Poet of {town}", town, "Weather"],
                "sentences": [
                    [f"The poet of {town} was born in {town}."],
                    [f"{town} is a town on the {town}water."],
                    ["It rains."],
                ],
            },
        }
        for town in towns
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def fix_rows(path: Path, count: int) -> None:
    """HumanEvalPack's form: functions that add a number, and subtract it where they are buggy."""
    rows = []
    for n in range(count):
        name = f"add_{n}"
        declaration = f"def {name}(x):\n"
        shown = f"def check({name}):\n    assert {name}(1) == {n + 1}\n\ncheck({name})\n"
        rows.append(
            {
                "task_id": f"Made/{n}",
                "entry_point": name,
                "prompt": declaration,
                "declaration": declaration,
                "canonical_solution": f"    return x + {n}\n",
                "buggy_solution": f"    return x - {n} - 1\n",
                "docstring": f"Add {n}.",
                "example_test": shown,
                "test": shown.replace("\n\ncheck", f"\n    assert {name}(-{n}) == 0\n\ncheck"),
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def quixbugs_rows(path: Path) -> None:
    """Three programs of QuixBugs's form: one yields, one is told by a tolerance."""
    rows = [
        {
            "name": "double", "buggy": "def double(x):\n    return x\n", "correct": "def double(x):\n    return 2 * x\n",
            "testcases": [[[2], 4], [[0], 0]],
        },
        {
            "name": "up", "buggy": "def up(n):\n    yield n\n", "correct": "def up(n):\n    yield from range(n)\n",
            "testcases": [[[3], [0, 1, 2]]],
        },
        {
            "name": "sqrt", "buggy": "def sqrt(x, e):\n    return x\n", "correct": "def sqrt(x, e):\n    return x ** 0.5 + e / 2\n",
            "testcases": [[[4, 0.001], 2.0]],
        },
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
