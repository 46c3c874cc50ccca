"""What an agent's reply is made of: the thought that nobody sees, what is said, the answer behind the marker, a page."""

import re

from tasks.programs import FENCE

MARKER = "I WANT TO ANSWER:"
"""The protocol's word, as in ColBench: what follows it is the answer, and ends the dialogue."""
SAID = "OUTPUT:"
"""What stands before it is thought; the person sees what follows."""
LEADING = re.compile(r"\s*<think(?:ing)?>(.*?)</think(?:ing)?>", re.S | re.I)
THOUGHT = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.S | re.I)
DOCTYPE = re.compile(r"<!doctype[^>]*>\s*\Z", re.I)


def split_reply(reply: str) -> tuple[str, str]:
    """(thought, what is said) of a reply: thinking tags and all before `OUTPUT:` are thought.

    >>> split_reply("He may mean euros. OUTPUT: Which currency?")
    ('He may mean euros.', 'Which currency?')
    """
    thoughts = []
    while leading := LEADING.match(reply):  # may name the marker
        thoughts.append(leading[1].strip())
        reply = reply[leading.end() :]
    head, marker, answer = reply.partition(MARKER)
    thoughts += [t.strip() for t in THOUGHT.findall(head)]
    head = THOUGHT.sub("", head)
    before, found, after = head.partition(SAID)
    if found:
        thoughts.append(before.strip())
        head = after
    if marker:
        head = f"{head}{marker}{answer.lstrip().removeprefix(SAID) if answer.lstrip().startswith(SAID) else answer}"
    return "\n".join(t for t in thoughts if t), head.strip()


def answer_in(said: str) -> str | None:
    """What follows the first marker; None without one."""
    _, found, answer = said.partition(MARKER)
    return answer.strip() if found else None


def page_in(text: str) -> str:
    """The page in a text: its first html element, else its first body, else a fenced block of HTML; empty if it has none."""
    lower = text.lower()
    for tag in ("html", "body"):
        begin = re.search(rf"<{tag}[\s>]", lower)
        end = re.compile(rf"</{tag}\s*>").search(lower, begin.end()) if begin else None
        if begin and end:
            doctype = DOCTYPE.search(text, max(0, begin.start() - 200), begin.start())
            return text[doctype.start() if doctype else begin.start() : end.end()]
    for block in FENCE.finditer(text.replace("\r\n", "\n")):
        if block["tag"].lower() in ("html", "htm", "xml") or (
            not block["tag"] and block["code"].lstrip().startswith("<")
        ):
            return block["code"]
    return ""
