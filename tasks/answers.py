"""What an agent's reply is made of: the thought that nobody sees, what is said, the answer behind the marker, a page."""

import re

from tasks.programs import fenced_blocks, outside_fences

MARKER = "I WANT TO ANSWER:"
"""The protocol's word, as in ColBench: what follows it is the answer, and ends the dialogue."""
SAID = "OUTPUT:"
"""What stands before it is thought; the person sees what follows."""
ANSWERS = re.compile(rf"(?<![\"'‘“]){MARKER}|^(?i:{MARKER})", re.M)
"""The marker, but for one that is only talked about; at the start of a line small models write it in small letters."""
SAYS = re.compile(rf"(?<![\"'`\w]){SAID}")
TAG = re.compile(r"(?<!`)<(?P<end>/?)html[\s>]", re.I)
BODY = re.compile(r"(?<!`)<(?:body|head|link|style)[\s>]", re.I)
BODY_END = re.compile(r"(?<!`)</body\s*>", re.I)
DOCTYPE = re.compile(r"<!doctype[^>]*>\s*\Z", re.I)


def split_reply(reply: str) -> tuple[str, str]:
    """(thought, what is said) of a reply without the model's own thoughts: all before `OUTPUT:` is thought.

    >>> split_reply("He may mean euros. OUTPUT: Which currency?")
    ('He may mean euros.', 'Which currency?')
    """
    begun = ANSWERS.search(reply)
    head, marker, answer = (reply[: begun.start()], MARKER, reply[begun.end() :]) if begun else (reply, "", "")
    thought = ""
    if found := SAYS.search(outside_fences(head)):
        thought, head = head[: found.start()].strip(), head[found.end() :]
    if marker:
        head = f"{head}{marker}{answer.lstrip().removeprefix(SAID) if answer.lstrip().startswith(SAID) else answer}"
    return thought, head.strip()


def answer_in(said: str) -> str | None:
    """What follows the first marker; None without one."""
    found = ANSWERS.search(said)
    return said[found.end() :].strip() if found else None


def page_in(text: str) -> str:
    """The last page in a text: an html element, of the last fenced block that has one, or of the prose; else the last fenced block
    of HTML, else a body element; empty if there is none. A tag in backticks is prose.
    """
    text = text.replace("\r\n", "\n")
    blocks = fenced_blocks(text)
    for _, code in reversed(blocks):
        if page := _document(code, closed=False):
            return page
    if page := _document(outside_fences(text), closed=True):
        return page
    for tag, code in reversed(blocks):
        if tag in ("html", "htm", "xml") or (not tag and code.lstrip().startswith("<")):
            return str(code)
    ends = [m.end() for m in BODY_END.finditer(text)]
    begin = BODY.search(text)
    return text[begin.start() : ends[-1]] if begin and ends and begin.start() < ends[-1] else ""


def _document(text: str, closed: bool) -> str:
    """The last html element, with its doctype; one that is not closed goes to the end, unless `closed` is asked for."""
    begin, end, found = -1, -1, (-1, -1)
    for tag in TAG.finditer(text):
        if tag["end"] and begin >= 0:
            end = text.find(">", tag.start()) + 1 or len(text)
            found = (begin, end)
        elif not tag["end"] and (begin < 0 or end >= 0):  # else it is within the one before, such as in a srcdoc
            begin, end = tag.start(), -1
    if begin >= 0 and end < 0 and not closed:
        found = (begin, len(text))
    doctype = DOCTYPE.search(text, max(0, found[0] - 200), max(0, found[0]))
    return text[doctype.start() if doctype else found[0] : found[1]] if found[0] >= 0 else ""
