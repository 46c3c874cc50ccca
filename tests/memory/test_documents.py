"""Documents: what is written in them is what is read, in its order; damage is one clear refusal."""

import contextlib
import io
import shutil
import time
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright
from pypdf import PdfWriter

from memory.archival import Archival
from memory.documents import Section, UnreadableDocument, read_document
from memory.store import QdrantStore
from text import read_json_lines


def test_markdown_html_and_text_have_positions() -> None:
    md = read_document("a.md", b"intro\n# One\ntext\n```\n# no heading\n```\n## Two ##\nmore")
    assert [(s.position, "no heading" in s.text) for s in md] == [("", False), ("One", True), ("Two", False)]
    page = (
        b"<html><head><title>x</title><script>alert(1)</script></head><body><p>Before</p><h2>Tea &amp; milk</h2>"
        b"<!-- hidden --><p>Green<b>tea</b></p><style>p{}</style></body>"
    )
    html = read_document("a.html", page)
    assert [s.position for s in html] == ["", "Tea & milk"]
    assert "alert" not in str(html)
    assert "hidden" not in str(html)
    assert read_document("a.txt", "\ufeffplain".encode()) == [Section("plain", "")]


def a_pdf(text: str) -> bytes:
    """A PDF of one page with one line of text, written by hand: pypdf writes no text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return body + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (
        size,
        table,
        size,
        len(body),
    )


def test_pdf_pages_are_read_and_bad_ones_refused() -> None:
    assert read_document("tea.pdf", a_pdf("Green tea is warm")) == [Section("Green tea is warm", "page 1")]
    with pytest.raises(UnreadableDocument, match=r"tea\.pdf cannot be read as a PDF"):
        read_document("tea.pdf", b"not a pdf at all")
    locked = io.BytesIO()
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(locked)
    with pytest.raises(UnreadableDocument, match="password"):
        read_document("locked.pdf", locked.getvalue())


def test_hostile_markup_takes_no_time() -> None:
    began = time.monotonic()
    read_document("a.md", b"# a" + b" " * 20_000 + b"b")
    read_document("a.html", b"<div>x" * 900)
    assert time.monotonic() - began < 20, "it took minutes when each line or node looked at all the others"


def test_other_bad_documents_are_refused_with_a_reason(store: QdrantStore) -> None:
    with pytest.raises(UnreadableDocument, match="Use one of: txt"):
        read_document("a.docx", b"x")
    with pytest.raises(UnreadableDocument, match=r"not UTF-8 text \(byte 1\)"):
        read_document("a.txt", b"x\xff")
    with pytest.raises(ValueError, match="has no text"):
        Archival(store, "ada").ingest("empty.txt", read_document("empty.txt", b"  \n"))
    assert Archival(store, "ada").sources() == {}


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "<!doctype html><html><head><meta charset=utf-8><title>Tea</title><body><p>Oolong and Assam",
            "Oolong and Assam",
        ),
        ("<p>H<sub>2</sub>O: run <code>git push</code>, then <span>O</span>nce", "H2O: run git push, then Once"),
        ("<p>Un<i>believ</i>able <b>quick</b>\n fox", "Unbelievable quick fox"),
        ("<ul><li>one<li>two</ul>", "one\ntwo"),
        ("<table><tr><td>a<td>b<tr><td>c<td>d</table>", "a\tb\nc\td"),
        ("<p>one<p>two<br>three<br><br>four", "one\n\ntwo\nthree\n\nfour"),
        ("<pre>  a\n    b</pre>", "  a\n    b"),
        ("<p>seen<p hidden>not<p style='display: none'>nor<noscript>this</noscript><template>that</template>", "seen"),
        ("<dl><dt>term<dd>meaning</dl>", "term\nmeaning"),
        ("<frameset><frame></frameset>", ""),
        ("just words &amp; marks <3", "just words & marks <3"),
    ],
)
def test_the_text_of_a_page_is_what_a_browser_shows(page: str, text: str) -> None:
    assert "".join(s.text for s in read_document("a.html", page.encode())) == text


PAGES = Path(__file__).parents[3] / "shared" / "data" / "html_pages" / "mdn_60.jsonl"


@pytest.mark.skipif(not PAGES.exists() or not shutil.which("chromium"), reason="no public pages, or no browser")
def test_public_pages_read_as_in_a_browser_word_for_word() -> None:
    pages = [row["html"] for _, row in read_json_lines(PAGES)]
    right = words = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_context(java_script_enabled=False).new_page()
        tab.route("**/*", lambda route: route.abort())
        for page in pages:
            tab.set_content(page, wait_until="domcontentloaded")
            shown = str(tab.evaluate("document.body.innerText")).split()
            ours = "".join(s.text for s in read_document("a.html", page.encode())).split()
            blocks = SequenceMatcher(None, shown, ours, autojunk=False).get_matching_blocks()
            right += 2 * sum(block.size for block in blocks)
            words += len(shown) + len(ours)
        browser.close()
    assert words > 1_000
    assert right >= 0.99 * words


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "windows-1252"]
)
@pytest.mark.parametrize("kind", ["txt", "md", "html"])
def test_encodings_are_told_apart(encoding: str, kind: str) -> None:
    text = "Café in Genève, naïve and déjà vu: nothing is lost."
    given = f"<p>{text}" if kind == "html" else text
    assert "".join(s.text for s in read_document(f"a.{kind}", given.encode(encoding))) == text


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("iso-8859-1", "iso-8859-1"), ("shift_jis", "shift_jis"), ("koi8-r", "koi8-r"), ("utf-8", "iso-8859-15x"),
     ("utf-8", "utf-16"), ("iso-8859-1", "utf-8"), ("gb18030", "gb18030")],
)  # fmt: skip
def test_what_a_page_declares_counts_unless_it_cannot_be_so(encoding: str, declared: str) -> None:
    text = {"shift_jis": "私の猫", "koi8-r": "Мой кот", "gb18030": "我的猫"}.get(encoding, "Café and other words")
    page = f'<meta charset="{declared}"><p>{text}'.encode(encoding)
    assert read_document("a.html", page)[0].text == text


def test_markdown_headings_are_those_of_commonmark() -> None:
    text = (
        "---\ntitle: x\n# not a heading\n---\nintro\n\n"
        "````\n```\n# in a fence\n```\n````\n\n~~~\n``` \n# in tildes\n~~~\n\n> # quoted\n\n"
        "# *One* `code` #\ntext\n\nTwo\n===\n    # indented code\nmore\r\n### Three\n"
    )
    sections = read_document("a.md", text.encode())
    assert [s.position for s in sections] == ["", "One code", "Two", "Three"]
    assert "".join(s.text for s in sections) == text
    assert "# in a fence" in sections[0].text


@given(
    st.lists(
        st.sampled_from(["# a", "```", "~~~", "````", "text", "", "> # q", "---", "===", "    # c", "* # l", "\r"])
    )
)
def test_no_markdown_loses_a_character(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert "".join(s.text for s in read_document("a.md", text.encode())) == text


def lines_pdf(*lines: str) -> bytes:
    return a_pdf(") Tj 0 -14 Td (".join(lines))


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("Agents were revolution-", "ized by paging."), "Agents were revolutionized by paging."),
        (("an ex-", "tended con-", "text of win-", "dows"), "an extended context of windows"),
        (
            ("written mm-", "dd-yy, by an X-", "ray of the state-of-", "the-art"),
            "written mm-dd-yy, by an X-ray of the state-of-the-art",
        ),
        (("a long-term plan, the long-", "term plan"), "a long-term plan, the long-term plan"),
        (("the Self-", "Refine method"), "the Self-Refine method"),
        (("from 2020-", "2021 on"), "from 2020-2021 on"),
        (("a list - ", "of things"), "a list - \nof things"),
    ],
)
def test_words_broken_at_the_end_of_a_line_are_joined(lines: tuple[str, ...], text: str) -> None:
    assert read_document("a.pdf", lines_pdf(*lines))[0].text == text


@pytest.mark.parametrize("operator", ["14 2 0 R Tf", "(a) 3 Td", "BT BT q Q Q Q", "/Fm0 Do", "[(a) -3 (b)] TJ (x) '"])
def test_whatever_a_pdf_trips_the_parser_over_is_one_clear_refusal(operator: str) -> None:
    data = a_pdf("x").replace(b"/F1 12 Tf", b"/F1 %s" % operator.encode())
    with contextlib.suppress(UnreadableDocument):
        read_document("odd.pdf", data)


def test_an_assertion_of_the_parser_is_a_refusal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypdf.PageObject.extract_text", lambda page: [][1])
    with pytest.raises(UnreadableDocument, match=r"odd\.pdf cannot be read as a PDF \(IndexError"):
        read_document("odd.pdf", a_pdf("x"))


def test_a_pdf_encrypted_with_aes_is_read() -> None:
    file = io.BytesIO()
    writer = PdfWriter(clone_from=io.BytesIO(a_pdf("Green tea is warm")))
    writer.encrypt("", algorithm="AES-256")
    writer.write(file)
    assert read_document("tea.pdf", file.getvalue())[0].text == "Green tea is warm"
