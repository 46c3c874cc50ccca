"""What a model thinks, apart from what it says: thinking tags, with or without the opening one, and Harmony's channels."""

import re

NAMES = "think|thinking|thought|reasoning"
LEADING = re.compile(rf"\s*<({NAMES})\s*>", re.I)
TAG = re.compile(rf"(?<![`\"'])<(?:(?:{NAMES})\s*>(?![`\"'])|(/)(?:{NAMES})\s*>)", re.I)
"""A mark of thought; one beside a quote is only talked about."""
MENTIONED = re.compile(rf"<(?:{NAMES})\s*>", re.I)
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
    nested = len(tags := TAG.findall(text)) == 2 * len([closing for closing in tags if closing])
    while leading := LEADING.match(text):
        end, after = _closing(text, leading.end(), nested)
        thoughts.append(text[leading.end() : end].strip())
        text = text[after:]
    thoughts_between, said = _taken_out(text, has_begun=bool(thoughts))
    thoughts += thoughts_between
    return "\n".join(t for t in thoughts if t), said.strip() if thoughts else text


def _closing(text: str, begin: int, nested: bool) -> tuple[int, int]:
    """Where the thought that begins there ends, and what follows it begins; `nested`: thoughts may stand in it, all closed."""
    depth = 1
    for tag in TAG.finditer(text, begin):
        if tag[1] or nested:
            depth += -1 if tag[1] else 1
        if not depth:
            return tag.span()
    return len(text), len(text)


def _taken_out(text: str, has_begun: bool) -> tuple[list[str], str]:
    """The thoughts between what is said, and that. The template may have written the first opening mark: then only its closing
    one stands there. Others that close nothing go.
    """
    thoughts: list[str] = []
    said: list[str] = []
    at, depth = 0, 0
    outside = _without_code(text)
    for tag in TAG.finditer(outside):
        if tag[1] and not depth and MENTIONED.search(outside, at, tag.start()):
            continue  # it closes one that is only talked about
        part = text[at : tag.start()]
        unopened = tag[1] and not depth and not has_begun
        (thoughts if depth or unopened else said).append(part)
        depth = max(0, depth - 1) if tag[1] else 1
        at, has_begun = tag.end(), True
    (thoughts if depth else said).append(text[at:])
    return [t.strip() for t in thoughts], "".join(said) if has_begun else text


def _without_code(text: str) -> str:
    """The text with spaces in place of fenced code, whose marks are the program's own, and of a call in JSON."""
    if text.lstrip().startswith("{"):
        return " " * len(text)
    return FENCED.sub(lambda found: " " * len(found[0]), text)
