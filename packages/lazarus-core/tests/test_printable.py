"""Control characters of users are shown, not sent; JSON stays the same value; one line stays one; values are cut."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_core.printable import LINE_CHARS, VALUE_CHARS, printable, printable_line

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202egnp.exe\u2066\r\b"
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_harmless(text: str) -> bool:
    return not any(
        (unicodedata.category(each) in ("Cc", "Zl", "Zp") and each not in "\n\t")
        or unicodedata.bidirectional(each) in BIDI
        for each in text.replace("\r\n", "\n")
    )


@given(st.text() | st.text(alphabet=EVIL + "a\n "))
def test_no_control_character_passes(text: str):
    assert is_harmless(printable(text))
    assert is_harmless(printable_line(text)) and "\n" not in printable_line(text)


@given(st.recursive(st.text(alphabet=EVIL + 'a"\\'), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_is_the_same_value(value: object):
    assert json.loads(printable(json.dumps(value, ensure_ascii=False, indent=2))) == value


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cf", "Zl", "Zp", "Cs"])))
def test_ordinary_text_is_untouched(text: str):
    assert printable(text) == text


@pytest.mark.parametrize("text", ["a\tb\nc", "naïve 日本 🙂 👨‍👩‍👧", "a\r\nb"])
def test_lines_tabs_and_joiners_stay(text: str):
    assert printable(text) == text


@given(st.text(min_size=VALUE_CHARS + 1, alphabet=st.characters(exclude_characters="\\'\"`\n")))
def test_quoted_values_are_cut(value: str):
    for quoted in (repr(value), f"`{value}`", json.dumps(value)):
        line = printable_line(f"a.jsonl:3: id {quoted} occurs twice")
        assert "characters) occurs twice" in line and len(line) < 8 * VALUE_CHARS


def test_apostrophes_within_words_quote_nothing():
    line = f"the tokenizer's own {'words ' * 40} and the model's"
    assert printable_line(line) == line


def test_a_line_has_a_bound():
    assert len(printable_line("x" * 10**6)) < LINE_CHARS + 100
