import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import load_tokenizer
from lazarus_tokenkit.analysis.comparison import CATEGORIES, compare_tokenizers, cut_view
from lazarus_tokenkit.analysis.counts import COLUMNS, boundaries, count_corpus, word_ids, word_spans
from lazarus_tokenkit.analysis.coverage import analyze_coverage, worst_group_ratio
from lazarus_tokenkit.analysis.efficiency import SPANS, analyze_efficiency
from lazarus_tokenkit.analysis.entropy import analyze_entropy
from lazarus_tokenkit.analysis.fit import INSUFFICIENT, Reference, calculate_fit_score
from lazarus_tokenkit.analysis.suggestions import suggest_vocabulary, token_count
from lazarus_tokenkit.analysis.words import analyze_words
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.samples.documents import cut_document
from lazarus_tokenkit.tokenizers.protocol import Segments
from lazarus_tokenkit.tokenizers.trainers.bpe import BpeConfig, train_bpe

BYTE = load_tokenizer("byte")
WORDS = ["she", "sells", "sea", "shells", "on", "the", "shore", "caf\u00e9", "12", "345", "\u4f60\u597d", "\U0001f600"]
DOCUMENTS = [" ".join(WORDS[(3 * n + m) % 12] for m in range(1 + n % 9)) + "." for n in range(60)]
TEXTS = st.lists(st.lists(st.sampled_from([*WORDS, " ", "\n", "\t"]), max_size=6).map(" ".join), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def trained() -> Any:
    return train_bpe(DOCUMENTS, BpeConfig(vocab_size=300))


def slow_counts(tokenizer: Any, text: str) -> dict[str, int]:
    """The same by plain Python, character by character."""
    found = tokenizer.segment_batch([text], parse_special=False)[0]
    cuts = {start for start in found.starts if start > 0}
    places, place = [], 0
    for letter in text:
        places.append((place, place + len(letter.encode())))
        place = places[-1][1]
    words: list[tuple[int, int]] = []
    for letter, (start, end) in zip(text, places, strict=True):
        if not letter.isspace():
            words = [*words[:-1], (words[-1][0], end)] if words and words[-1][1] == start else [*words, (start, end)]
    return {
        "bytes": place,
        "chars": len(text),
        "words": len(words),
        "tokens": len(found.ids),
        "continued_words": sum(any(start < cut < end for cut in cuts) for start, end in words),
        "fragmented_chars": sum(any(start < cut < end for cut in cuts) for start, end in places),
        "lossless": int(tokenizer.decode(found.ids) == text),
    }


@given(text=st.text(max_size=20) | TEXTS.map(" ".join))
def test_counts_equal_those_of_plain_python(trained: Any, text: str):
    for tokenizer in (BYTE, trained):
        counts = count_corpus(tokenizer, [text])
        expected = slow_counts(tokenizer, text)
        assert {name: counts.total(name) for name in expected} == expected


@given(TEXTS, st.randoms(use_true_random=False))
def test_rates_know_no_order_and_no_repetition(texts: list[str], chance: Any):
    shuffled = chance.sample(texts, len(texts))
    before, after, twice = (count_corpus(BYTE, each) for each in (texts, shuffled, texts * 2))
    for name in COLUMNS:
        assert before.total(name) == after.total(name) == twice.total(name) / 2
    entropies = [analyze_entropy(BYTE, each) for each in (texts, shuffled, texts * 2)]
    assert entropies[0].entropy_bits == entropies[1].entropy_bits
    if entropies[0].bits_per_byte is not None:
        assert math.isclose(entropies[0].bits_per_byte, entropies[2].bits_per_byte or 0)


def test_bytes_and_characters_are_the_units_of_their_tokenizers():
    assert analyze_coverage(BYTE, DOCUMENTS).bytes_per_token == 1
    assert analyze_coverage(load_tokenizer("char:" + "".join(DOCUMENTS)), DOCUMENTS).chars_per_token == 1


def test_coverage_of_llama2_sees_fallback_and_llama2_cannot_spell_unknown(real_data: Path):
    tokenizer = load_tokenizer(real_data / "tokenizers" / "llama2")
    coverage = analyze_coverage(tokenizer, ["\U0001fae8 a"])
    assert (coverage.byte_fallback_rate, coverage.fragmented_char_rate, coverage.unk_rate) == (4 / 6, 1 / 3, 0)
    assert coverage.lossless_rate == 1


def test_unknown_characters_are_counted_by_the_models_unk():
    coverage = analyze_coverage(load_tokenizer("char:ab"), ["abc <unk>"])
    assert coverage.unk_rate == 7 / 9 and coverage.lossless_rate == 0


def test_words_break_in_their_context_not_alone(real_data: Path):
    tokenizer = load_tokenizer(real_data / "tokenizers" / "gpt2")
    coverage = analyze_coverage(tokenizer, ["the tokenizer"])
    assert coverage.continued_word_rate == 0.5  # ` token` `izer`
    assert (coverage.single_token_words, coverage.single_token_words_bare) == (0.5, 0.5)


def test_an_empty_corpus_is_refused_and_empty_documents_give_none():
    with pytest.raises(TokenkitError, match="empty"):
        analyze_coverage(BYTE, [])
    nothing = analyze_coverage(BYTE, [""])
    assert (nothing.bytes_per_token, nothing.fertility, nothing.unk_rate) == (None, None, None)
    assert analyze_entropy(BYTE, [""]).entropy_bits is None
    assert "bytes/token" in nothing.text()


def test_the_worst_group_is_held_against_the_best():
    groups = {"a": analyze_coverage(BYTE, ["aa"]), "b": analyze_coverage(load_tokenizer("char:"), ["\u4f60"])}
    assert worst_group_ratio(groups) == 1 / 3


def test_uniform_use_is_fully_efficient_and_efficiency_falls_with_alpha():
    uniform = analyze_entropy(BYTE, ["abcd"])
    assert (uniform.entropy_bits, uniform.efficiency_of_observed, uniform.perplexity) == (2, 1, 4)
    alphas = (0.5, 0.999999, 1, 1.000001, 2.5, 3, 1000)
    found = [analyze_entropy(BYTE, DOCUMENTS, alpha).renyi_bits for alpha in alphas]
    assert found == sorted(found, reverse=True)
    assert math.isclose(found[1], found[2], rel_tol=1e-4) and math.isclose(found[2], found[3], rel_tol=1e-4)


def test_entropy_figures_are_those_of_the_formulas():
    entropy = analyze_entropy(BYTE, ["aab"])
    bits = -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))
    assert math.isclose(entropy.entropy_bits or 0, bits) and math.isclose(entropy.bits_per_byte or 0, bits)
    assert math.isclose(entropy.renyi_bits or 0, math.log2((2 / 3) ** 2.5 + (1 / 3) ** 2.5) / -1.5)
    assert entropy.unseen_mass == 1 / 3 and entropy.utilisation == 2 / 260


def test_quantiles_are_interpolated_and_spans_counted_in_context():
    efficiency = analyze_efficiency(BYTE, ["a", "ab", "so 12+3 = 15\nyes"], context_length=2)
    assert efficiency.quantiles[50] == 2 and efficiency.quantiles[90] == np.percentile([1, 2, 16], 90)
    assert efficiency.over_context == 1 / 3
    assert efficiency.tokens_per == {"equation": 9, "step": (1 + 2 + 12 + 3) / 4, "tool call": None}
    assert sum(count for _, _, count in efficiency.histogram) == 3


@pytest.mark.parametrize(
    "text",
    ['<tool_call>{"name": "f"}</tool_call>', '{"name": "f", "arguments": {"a": 1}}', '{"name":"f","parameters":{}}'],
)
def test_tool_calls_are_found_in_tags_and_as_objects(text: str):
    assert SPANS["tool call"].search(f"x {text} y").group() == text


def test_a_tokenizer_is_like_itself_and_bytes_are_longer(trained: Any):
    same = compare_tokenizers(trained, trained, DOCUMENTS)
    assert (same.ratio, same.ratio_interval, same.boundary_f1) == (1, (1, 1), 1)
    other = compare_tokenizers(BYTE, trained, DOCUMENTS)
    assert other.ratio > 1.3 and other.ratio_interval[0] < other.ratio < other.ratio_interval[1]
    assert other.boundary_f1 < 1
    assert [sum(pair[place] for pair in other.by_category.values()) for place in (0, 1)] == list(other.tokens)
    assert tuple(other.by_category) == CATEGORIES


def test_broken_characters_are_shown_as_bytes():
    assert cut_view("\u00e9a", Segments([1, 2, 3], [0, 1, 2], [1, 2, 3])) == r"\xc3|\xa9|a"


def test_spans_of_words_are_in_bytes():
    assert word_spans(" \u00e9a b").tolist() == [[1, 4], [5, 6]]
    assert boundaries(Segments([1, 2, 3], [0, 1, 1], [1, 2, 2])).tolist() == [1]


def test_a_fit_is_low_for_bytes_and_high_for_what_was_made_for_the_corpus(trained: Any):
    reference = Reference(4.0, 0.3, (1, 1), "r")
    assert calculate_fit_score(BYTE, DOCUMENTS, reference).parts["compression"] == 0
    made = calculate_fit_score(train_bpe(DOCUMENTS, BpeConfig(vocab_size=400)), DOCUMENTS)
    assert made.score > 80 > calculate_fit_score(BYTE, DOCUMENTS).score
    assert made.interval[0] <= made.score <= made.interval[1]
    assert made.grade == INSUFFICIENT


def test_a_fit_is_the_same_twice_and_has_its_formula(trained: Any):
    score = calculate_fit_score(trained, DOCUMENTS)
    assert score == calculate_fit_score(trained, DOCUMENTS)
    parts = score.parts
    expected = 100 * parts["lossless"] * parts["cover"] * (0.7 * parts["compression"] + 0.3 * parts["words"])
    assert score.score == round(expected, 1)
    assert f"{score.score}/100" == f"{expected:.1f}/100"


def test_more_tokens_never_raise_a_fit():
    reference = Reference(3.0, 0.4, (1, 1), "r")
    sizes = [260, 280, 300, 340, 400]
    made = [train_bpe(DOCUMENTS, BpeConfig(vocab_size=size)) for size in sizes]
    scored = [(token_count(each, DOCUMENTS), calculate_fit_score(each, DOCUMENTS, reference)) for each in made]
    compressions = [score.parts["compression"] for _, score in sorted(scored, key=lambda each: each[0])]
    assert compressions == sorted(compressions, reverse=True)


@pytest.mark.parametrize("kind", ["bpe", "byte"])
def test_a_suggestion_saves_what_really_adding_it_saves(trained: Any, kind: str):
    import tokenizers

    tokenizer = trained if kind == "bpe" else BYTE
    found = suggest_vocabulary(tokenizer, DOCUMENTS, count=4)
    engine = tokenizers.Tokenizer.from_buffer(tokenizer.files["tokenizer.json"])
    engine.encode_special_tokens = True
    before = sum(len(engine.encode(text, add_special_tokens=False).ids) for text in DOCUMENTS)
    assert before == found.tokens_before
    for suggestion in found.suggestions:
        engine.add_tokens([tokenizers.AddedToken(suggestion.text, normalized=False)])
        now = sum(len(engine.encode(text, add_special_tokens=False).ids) for text in DOCUMENTS)
        assert before - now == suggestion.saved_tokens
        before = now
    assert before == found.tokens_after and len(found.suggestions) == 4


@pytest.mark.slow
@pytest.mark.thorough
def test_gpt2_fits_shakespeare_less_than_a_tokenizer_of_its_own(real_data: Path):
    text = (real_data / "datasets" / "text" / "tinyshakespeare.txt").read_text()[:300_000]
    documents = text.split("\n\n")
    gpt2 = calculate_fit_score(load_tokenizer(real_data / "tokenizers" / "gpt2"), documents)
    assert gpt2.grade in "ABCD" and gpt2.parts["lossless"] == 1
    assert 0 < calculate_fit_score(BYTE, documents).score < gpt2.score


@pytest.mark.parametrize(("name", "file"), [("llama2", "tokenizer.model"), ("gpt2", "tokenizer.json")])
def test_a_word_is_measured_without_what_an_engine_puts_before_a_text(real_data: Path, name: str, file: str):
    tokenizer = load_tokenizer(real_data / "tokenizers" / name / file)
    ids = word_ids(tokenizer, ["the", "house", "Xylophonist"], has_space=True)
    assert [len(each) for each in ids[:2]] == [1, 1] and len(ids[2]) > 1
    assert [tokenizer.decode(each).strip() for each in ids] == ["the", "house", "Xylophonist"]
    bare = word_ids(tokenizer, ["the"], has_space=False)
    assert len(bare[0]) == 1 and bare != ids[:1]


def test_one_document_has_no_interval():
    byte = load_tokenizer("byte")
    assert compare_tokenizers(byte, byte, ["abc"]).ratio_interval is None
    assert analyze_coverage(byte, ["abc"]).bytes_per_token_interval is None


@pytest.mark.parametrize(
    "measure",
    [analyze_coverage, analyze_efficiency, analyze_entropy, analyze_words, suggest_vocabulary, calculate_fit_score],
)
def test_one_text_is_a_document_and_a_name_opens_a_tokenizer(measure):
    text = "".join(f"{n} and {n} is {2 * n}.\n" for n in range(700))
    documents = list(cut_document(text))
    assert len(documents) > 1
    assert measure("byte", text) == measure(load_tokenizer("byte"), documents)


def test_tokenizers_are_compared_by_name():
    assert compare_tokenizers("byte", "char:", "one text").documents == 1


def test_texts_may_be_given_before_the_tokenizer():
    texts = ["Your training data and more", "More examples of it"]
    for tokenizer in ("byte", load_tokenizer("byte")):
        coverage = analyze_coverage(texts, tokenizer)
        assert coverage == analyze_coverage(tokenizer, iter(texts)) == analyze_coverage(iter(texts), tokenizer)
        assert calculate_fit_score(texts, tokenizer) == calculate_fit_score(tokenizer, texts)
    assert coverage.tokens_per_word == coverage.fertility == coverage.tokens / 9
