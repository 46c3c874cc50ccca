"""Two versions of a text side by side, what went marked on the left and what came on the right, as HTML without scripts."""

import difflib
from html import escape

STYLE = """<style>
.diff {display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; font-family: monospace; font-size: .8rem;}
.diff div {white-space: pre-wrap; overflow-wrap: anywhere; padding: .05rem .4rem; min-height: 1.2em;}
.diff div {border-left: 3px solid transparent;}
.diff .head {font-weight: 600; padding-bottom: .3rem;}
.diff .gone {background: rgba(220, 60, 60, .14); border-left-color: rgb(200, 60, 60);}
.diff .came {background: rgba(40, 160, 90, .14); border-left-color: rgb(40, 140, 80);}
@media (max-width: 640px) {.diff {grid-template-columns: 1fr;} .diff .none {display: none;}}
</style>"""
MOST_LINES = 400


def diff_html(before: str, after: str, before_name: str, after_name: str) -> str:
    """The two texts, line beside line."""
    old, new = before.splitlines()[:MOST_LINES], after.splitlines()[:MOST_LINES]
    rows = [_cell(before_name, "head"), _cell(after_name, "head")]
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        left, right = old[a:b], new[c:d]
        for n in range(max(len(left), len(right))):
            gone = left[n] if n < len(left) else None
            came = right[n] if n < len(right) else None
            rows += [_cell(gone, "" if tag == "equal" else "gone"), _cell(came, "" if tag == "equal" else "came")]
    return f'{STYLE}<div class="diff">{"".join(rows)}</div>'


def _cell(text: str | None, kind: str) -> str:
    return '<div class="none"></div>' if text is None else f'<div class="{kind}">{escape(text) or "&nbsp;"}</div>'
