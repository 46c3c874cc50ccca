"""Questions of Multi-Session Chat: each from a fact of the person, answered by the fact's own words."""

import json
from pathlib import Path

import pytest

from tasks.msc import holds, questions_of, read_msc, rouge_l_recall

QUESTIONS = [
    ("My name is Ilse.", "What is my name?", ("Ilse",)),
    ("My dog's name is Pepper.", "What is the name of my dog?", ("Pepper",)),
    ("I live in a small town.", "Where do I live?", ("a small town",)),
    ("I am from Graz. I grew up in Linz!", "Where am I from?", ("Graz",)),
    ("I grew up in Linz and I moved away.", "Where did I grow up?", ("Linz",)),
    ("I work part time at a bakery.", "Where do I work?", ("a bakery",)),
    ("I work at a shelter in my town.", "Where do I work?", ("a shelter",)),
    ("I work as a welder.", "What do I work as?", ("a welder",)),
    ("My favorite color is green.", "What is my favorite color?", ("green",)),
    ("Goya is my favourite painter.", "What is my favorite painter?", ("Goya",)),
    ("I studied physics.", "What have I studied?", ("physics",)),
    ("I want to visit Peru.", "What do I want to visit?", ("Peru",)),
    ("I have three older sisters.", "How many older sisters do I have?", ("three",)),
    ("I'm 31 years old.", "How old am I?", ("31",)),
    ("I like tea. I love long walks.", "Name one thing that I like.", ("tea", "long walks")),
    ("I don't like crowds.", "Name one thing that I do not like.", ("crowds",)),
    ("I collect stamps, but my wife sells them.", "What do I collect?", ("stamps",)),
]


@pytest.mark.parametrize(("fact", "question", "answers"), QUESTIONS)
def test_a_fact_becomes_a_question(fact: str, question: str, answers: tuple[str, ...]) -> None:
    found = {q.text: q.answers for q in questions_of([fact])}
    assert found[question] == answers


@pytest.mark.parametrize(
    "fact", ["It rained.", "I have a cold.", "I love it.", "I like the way the light falls on the lake in the evening."]
)
def test_what_no_answer_can_be_checked_by_is_no_question(fact: str) -> None:
    assert questions_of([fact]) == []


@pytest.mark.parametrize(
    ("reply", "answer", "right"),
    [
        ("You live in a SMALL town!", "a small town", True),
        ("You have 3 sisters.", "three", True),
        ("You like walking.", "long walks", False),
        ("You mentioned towns, small ones.", "a small town", True),
        ("", "tea", False),
        ("I do not know.", "Linz", False),
    ],
)
def test_an_answer_is_right_where_it_holds_the_facts_words(reply: str, answer: str, right: bool) -> None:
    assert holds(reply, answer) is right


def test_rouge_counts_words_in_order() -> None:
    assert rouge_l_recall("You live in a small old town.", "a small town") == 1.0
    assert rouge_l_recall("The town is small.", "a small town") == 0.5
    assert rouge_l_recall("", "tea") == 0.0


def test_what_the_last_session_tells_is_not_asked(tmp_path: Path) -> None:
    sessions = [
        [
            {"speaker": "A", "text": "I live in Graz and I like tea.", "fact": "I live in Graz. I like tea."},
            {"speaker": "B", "text": "I live in Rome.", "fact": "I live in Rome."},
        ],
        [{"speaker": "A", "text": "Graz is cold today.", "fact": "I work as a welder."}],
    ]
    file = tmp_path / "msc.jsonl"
    file.write_text(json.dumps({"id": "d", "personas": [["I like tea."], []], "sessions": sessions}) + "\n")
    (dialogue,) = read_msc(file)
    assert [q.text for q in dialogue.questions] == ["Name one thing that I like."]
    assert [turn.session for turn in dialogue.turns] == [0, 0, 1]


def test_a_file_of_another_shape_is_refused_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "msc.jsonl"
    file.write_text('{"id": "d", "personas": []}\n')
    with pytest.raises(ValueError, match=r"msc\.jsonl, line 1"):
        read_msc(file)
