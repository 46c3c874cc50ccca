"""What a model thinks, apart from what it says: thinking tags, with or without the opening one, and Harmony's channels."""

import re

LEADING = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*?)</\1>", re.S | re.I)
ANYWHERE = re.compile(r"(?<![`\"'])<(think|thinking|thought|reasoning)>(?![`\"'])(.*?)(?:</\1>|\Z)", re.S | re.I)
"""A mark beside a quote is only talked about."""
UNOPENED = re.compile(r"((?:(?!<think|<reasoning).)*?)(?<![`\"'])</(?:think|thinking|thought|reasoning)>", re.S | re.I)
"""Thought whose opening mark the chat template has written."""
FENCED = re.compile(r"^([`~]{3,}).*?^\1", re.S | re.M)
CHANNEL = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>(\w+)(?:[^<]*)<\|message\|>(.*?)(?=<\|start\|>|<\|channel\|>|<\|end\|>|<\|return\|>|<\|call\|>|\Z)",
    re.S,
)
OPENING = re.compile(r"\s*(?:\[THINK\]|◁think▷|<seed:think>|<\|channel>thought\n)")
CLOSING = re.compile(r"\[/THINK\]|◁/think▷|</seed:think>|<channel\|>")
"""Other models' marks of thought, taken as the usual tags where a reply begins with them."""
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
    if OPENING.match(text) and CLOSING.search(text):
        text = CLOSING.sub("</think>", OPENING.sub("<think>", text, count=1), count=1)
    while leading := LEADING.match(text):
        thoughts.append(leading[2].strip())
        text = text[leading.end() :]
    if unopened := UNOPENED.match(_without_code(text)):
        thoughts.append(text[: unopened.end(1)].strip())
        text = text[unopened.end() :]
    said, end = "", 0
    for found in ANYWHERE.finditer(_without_code(text)):
        thoughts.append(text[slice(*found.span(2))].strip())
        said, end = said + text[end : found.start()], found.end()
    text = said + text[end:]
    return "\n".join(t for t in thoughts if t), text.strip() if thoughts else text


def _without_code(text: str) -> str:
    """The text with spaces in place of fenced code, whose marks are the program's own, and of a call in JSON."""
    if text.lstrip().startswith("{"):
        return " " * len(text)
    return FENCED.sub(lambda found: " " * len(found[0]), text)
