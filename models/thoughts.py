"""What a model thinks, apart from what it says: thinking tags, with or without the opening one, and Harmony's channels."""

import re

LEADING = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*?)</\1>", re.S | re.I)
ANYWHERE = re.compile(r"(?<!`)<(think|thinking|thought|reasoning)>(.*?)(?:</\1>|\Z)", re.S | re.I)
UNOPENED = re.compile(r"((?:(?!<think|<reasoning).)*?)</(?:think|thinking|thought|reasoning)>", re.S | re.I)
"""Thought whose opening mark the chat template has written."""
CHANNEL = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>(\w+)(?:[^<]*)<\|message\|>(.*?)(?=<\|start\|>|<\|channel\|>|<\|end\|>|<\|return\|>|<\|call\|>|\Z)",
    re.S,
)
OPENING = re.compile(r"\[THINK\]|◁think▷|<seed:think>|<\|channel>thought\n")
CLOSING = re.compile(r"\[/THINK\]|◁/think▷|</seed:think>|<channel\|>")
"""Other models' marks of thought, taken as the usual tags where both stand."""
MARK = re.compile(r"<\|(?:end|return|start|call)\|>(?:assistant)?")


def split_thoughts(text: str) -> tuple[str, str]:
    """(thoughts, what is said).

    >>> split_thoughts("<think>He may mean euros.</think>Which currency?")
    ('He may mean euros.', 'Which currency?')
    """
    thoughts: list[str] = []
    if channels := CHANNEL.findall(text):
        thoughts = [said.strip() for channel, said in channels if channel != "final"]
        text = "".join(said for channel, said in channels if channel == "final")
        text = MARK.sub("", text)
    if OPENING.search(text) and CLOSING.search(text):
        text = CLOSING.sub("</think>", OPENING.sub("<think>", text))
    while leading := LEADING.match(text):
        thoughts.append(leading[2].strip())
        text = text[leading.end() :]
    if unopened := UNOPENED.match(text):
        thoughts.append(unopened[1].strip())
        text = text[unopened.end() :]
    thoughts += [found[1].strip() for found in ANYWHERE.findall(text)]
    text = ANYWHERE.sub("", text)
    return "\n".join(t for t in thoughts if t), text.strip() if thoughts else text
