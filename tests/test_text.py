"""Text that nothing can carry, and text as searches compare it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text import clean_text, find_folded, folded, normalised, read_json_lines


@pytest.mark.parametrize(
    ("given", "kept"), [("a\x00b", "a\ufffdb"), ("a\ud800b", "a\ufffdb"), ("👩‍🚀\u202eé", "👩‍🚀\u202eé"), ("", "")]
)
def test_only_what_nothing_can_carry_is_replaced(given: str, kept: str) -> None:
    assert clean_text(given) == kept


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("my re\u0301sume\u0301 is here", "r\u00e9sum\u00e9"),
        ("\u0130stanbul is far", "istanbul"),
        ("I\u011eDIR lies east", "\u0131\u011fd\u0131r"),
        ("Hauptstra\u00dfe 5", "HAUPTSTRASSE"),
        ("\uff34\uff25\uff21 at noon", "tea"),
        ("a co\u00adoperation", "cooperation"),
        ("zero\u200bwidth", "ZEROWIDTH"),
        ("\u039f\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2", "\u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c3"),
        ("\ufb01ne \ufb02our", "fine flour"),
        ("\u30ac\u30ae\u30b0", "\u30cb".replace("\u30cb", "\uff76\uff9e\uff77\uff9e")),
    ],
)
def test_what_looks_the_same_folds_the_same(text: str, query: str) -> None:
    assert folded(query) in folded(text)
    at = find_folded(text, query)
    assert at >= 0
    assert folded(text[at:]).startswith(folded(query)[:2])


def test_an_excerpt_begins_where_the_match_is_in_the_text_itself() -> None:
    text = "ß" * 300 + "İ" * 300 + "here"
    assert text[find_folded(text, "HERE") :] == "here"
    assert find_folded("tea", "coffee") == -1


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert normalised(normalised(text)) == normalised(text)


def test_json_lines_end_with_a_line_feed_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\ufeff{"a": "one\u2028two\u0085three"}\n\n{"a": 2}\r\n', encoding="utf-8")
    assert list(read_json_lines(path)) == [(1, {"a": "one\u2028two\u0085three"}), (3, {"a": 2})]
    path.write_text('{"a": 1}\n{"a": ', encoding="utf-8")
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 2: not JSON"):
        list(read_json_lines(path))
