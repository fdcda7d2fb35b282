"""Names of files, words and tokens never change the structure of the pages of analyses."""

import pytest
from hypothesis import given

from html_pages import ATTACKS, NAMES, Read
from lazarus_tokenkit import load_tokenizer
from lazarus_tokenkit.analysis import (
    CoverageByFile,
    analysis_page,
    analyze_coverage,
    analyze_words,
    compare_tokenizers,
    diff_page,
    diff_vocabularies,
    suggest_vocabulary,
)

CHARACTERS = "char:" + "".join(sorted(set("".join(ATTACKS))))
BYTE = load_tokenizer("byte")


def kinds(page: str) -> set[tuple[str, tuple[str, ...]]]:
    read = Read(page)
    assert read.wrong == []
    return set(read.shape())


@given(NAMES)
def test_no_word_or_name_changes_the_structure(name: str):
    documents = [f"{name} {name} b", "a b"]
    found = analyze_words(BYTE, documents)
    page = analysis_page(BYTE, documents, found, names=[name])
    harmless = ["some words", "a b"]
    assert kinds(page) <= kinds(analysis_page(BYTE, harmless, analyze_words(BYTE, harmless), names=["x" * 30]))


@pytest.mark.parametrize("name", ATTACKS)
def test_no_token_or_file_changes_the_structure(name: str):
    documents = [f"{name} {name} {name}"]
    by_file = CoverageByFile({name: analyze_coverage(BYTE, documents), "b": analyze_coverage(BYTE, ["b"])}, 0.5)
    other = load_tokenizer(CHARACTERS)
    pages = [
        analysis_page(BYTE, documents, suggest_vocabulary(BYTE, documents)),
        analysis_page(BYTE, documents, by_file),
        diff_page((BYTE, other), documents, diff_vocabularies(BYTE, other), compare_tokenizers(BYTE, other, documents)),
    ]
    used = {"main", "header", "section", "h1", "h2", "p", "ul", "li", "div", "figure", "b", "span", "i", "svg", "g"}
    used |= {"line", "rect", "table", "thead", "tbody", "tr", "th", "td", "html", "head", "meta", "title", "style"}
    for page in pages:
        assert {tag for tag, _ in kinds(page)} <= used | {"body", "footer", "script"}
        assert not {name for _, names in kinds(page) for name in names} & {"onfocus", "onerror", "src"}
