"""Agents without a language model, for our own tasks: one that asks for every open decision, one that asks nothing and guesses.

They know the family of a task and what each option would look like, and not which one was drawn: what they lack, they must ask for
or guess. So a score of them measures asking.
"""

import random
from collections.abc import Callable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from models.scripted import PolicyModel
from tasks.answers import MARKER
from tasks.colbench import Task
from tasks.decisions import Decision, Option, OwnSplit, phrasings
from tasks.families import FAMILIES
from tasks.own_frontend import DECISIONS, TRADES, draw

Agent = Callable[[Task], PolicyModel]
ASKED_AGAIN = 3  # times, where the person was vague


def asking(task: Task) -> PolicyModel:
    """Asks each open decision's question until it is answered, then answers; what stays unknown is guessed.

    It puts its questions as people of the task's split do.
    """
    split = _split(task)

    def policy(messages: Sequence[BaseMessage]) -> str:
        replies = [m.text for m in messages[2:] if isinstance(m, HumanMessage)]
        asked = [str(m.text) for m in messages if isinstance(m, AIMessage)]
        for decision in open_decisions(task):
            questions = phrasings(decision.questions, split)
            times = sum(asked.count(question) for question in questions)
            if _option_told(decision, replies) is None and times < ASKED_AGAIN:
                last = messages[-1].text
                return questions[times % len(questions)] if "last turn" not in last else _answer(task, replies)
        return _answer(task, replies)

    return PolicyModel(policy=policy)


def guessing(task: Task) -> PolicyModel:
    """Answers at once."""
    return PolicyModel(policy=lambda messages: _answer(task, []))


def repeating(task: Task) -> PolicyModel:
    """Says the description back, at every turn: the agent that has learnt nothing."""
    return PolicyModel(policy=lambda messages: messages[1].text)


AGENTS: dict[str, Agent] = {"asking": asking, "guessing": guessing, "repeating": repeating}


def open_decisions(task: Task) -> list[Decision]:
    """The decisions that the description leaves open. Raises ValueError for a task that is not our own."""
    return [d for d in _decisions(task) if _option_told(d, [task.description]) is None]


def _decisions(task: Task) -> Sequence[Decision]:
    if task.task_id.startswith("own-frontend/"):
        return DECISIONS
    if task.task_id.startswith("own-backend/"):
        return FAMILIES[_seed(task) % len(FAMILIES)].decisions
    raise ValueError(f"The scripted agents know our own tasks only, not {task.task_id}: name a model with --agent.")


def _seed(task: Task) -> int:
    return int(task.task_id.rpartition("/")[2])


def _split(task: Task) -> OwnSplit:
    return task.split or "train"


def _option_told(decision: Decision, texts: Sequence[str]) -> Option | None:
    """The option of which a statement stands in the texts."""
    whole = "\n".join(texts)
    return next((o for o in decision.options if o.told_in(whole)), None)


def _answer(task: Task, replies: Sequence[str]) -> str:
    rng = random.Random(f"guess {task.task_id}")
    options = {
        d.key: _option_told(d, [task.description, *replies]) or rng.choice(d.of_split(_split(task)))
        for d in _decisions(task)
    }
    if task.kind == "frontend":
        return f"{MARKER}\n{draw(options, sorted(TRADES)[_seed(task) % len(TRADES)], _seed(task))}"
    family = FAMILIES[_seed(task) % len(FAMILIES)]
    return f"{MARKER}\n```python\n{family.program(options)}```"
