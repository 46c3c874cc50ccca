"""What an agent's reply is made of: the thought that nobody sees, what is said, the answer behind the marker, a page."""

import re

from tasks.programs import FENCE

MARKER = "I WANT TO ANSWER:"
"""The protocol's word, as in ColBench: what follows it is the answer, and ends the dialogue."""
SAID = "OUTPUT:"
"""What stands before it is thought; the person sees what follows."""
THOUGHT = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.S | re.I)
PAGES = (re.compile(r"<html\b.*?</html\s*>", re.S | re.I), re.compile(r"<body\b.*?</body\s*>", re.S | re.I))


def split_reply(reply: str) -> tuple[str, str]:
    """(thought, what is said) of a reply: thinking tags and all before `OUTPUT:` are thought.

    >>> split_reply("He may mean euros. OUTPUT: Which currency?")
    ('He may mean euros.', 'Which currency?')
    """
    thoughts = [t.strip() for t in THOUGHT.findall(reply)]
    rest = THOUGHT.sub("", reply)
    before, found, after = rest.partition(SAID)
    if found:
        thoughts.append(before.strip())
        if MARKER in before and MARKER not in after:  # the marker is never a thought
            after = f"{MARKER} {after.strip()}"
        rest = after
    return "\n".join(t for t in thoughts if t), rest.strip()


def answer_in(said: str) -> str | None:
    """What follows the first marker; None without one."""
    _, found, answer = said.partition(MARKER)
    return answer.strip() if found else None


def page_in(text: str) -> str:
    """The page in a text: its first html element, else its first body, else a fenced block of HTML; empty if it has none."""
    for pattern in PAGES:
        if found := pattern.search(text):
            return found[0]
    for block in FENCE.finditer(text.replace("\r\n", "\n")):
        if block["tag"].lower() in ("html", "htm", "xml") or (
            not block["tag"] and block["code"].lstrip().startswith("<")
        ):
            return block["code"]
    return ""
