import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lazarus_core.errors import OutputTaken
from lazarus_tokenkit import load_tokenizer
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.tokenizers import BpeConfig, SentencePieceConfig, train_bpe, train_sentencepiece
from lazarus_tokenkit.tokenizers.backends.character import character_tokenizer
from lazarus_tokenkit.tokenizers.trainers import sentencepiece
from lazarus_tokenkit.training.card import freeze
from lazarus_tokenkit.training.run import estimate, train_files
from suite import share, thinned

TEXTS = [f"she sells {n} sea shells on the {n % 7}th shore, caf\u00e9 {'x' * (n % 5)}\n" for n in range(200)]
BPE = BpeConfig(vocab_size=300, special_tokens=("<s>", "</s>", "<pad>"))


@pytest.fixture
def corpus(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, texts in zip(paths, (TEXTS[:120], TEXTS[120:]), strict=True):
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return paths


def test_three_trainings_give_the_same_bytes():
    made = [train_bpe(TEXTS, BPE).files for _ in range(3)]
    assert made[0] == made[1] == made[2]


def test_special_tokens_come_first_without_gaps():
    tokenizer = train_bpe(TEXTS, BPE)
    assert tokenizer.special_tokens == {"<s>": 0, "</s>": 1, "<pad>": 2}
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.vocab_size) == (0, 1, 2, 300)
    assert sorted(tokenizer.vocab.values()) == list(range(300))


@given(st.text())
def test_a_byte_level_bpe_spells_any_text(text: str):
    tokenizer = _trained()
    assert tokenizer.decode(tokenizer.encode(text, parse_special=False)) == text


def _trained(cache: list[Any] = []) -> Any:  # noqa: B006 - trained once
    if not cache:
        cache.append(train_bpe(TEXTS, BPE))
    return cache[0]


def test_digits_are_split_on_request():
    tokenizer = train_bpe(["2024 2024 2024"] * 9, BpeConfig(vocab_size=280, split_digits=True))
    assert len(tokenizer.encode("2024")) == 4


@pytest.mark.parametrize(
    "members", [{"vocab_size": 200}, {"special_tokens": ("<s>", "<s>")}, {"special_tokens": ("",)}, {"size": 3}]
)
def test_a_configuration_that_cannot_be_is_refused(members: dict[str, Any]):
    with pytest.raises(ValidationError):
        BpeConfig(**members)


@pytest.mark.slow
@pytest.mark.parametrize(("model_type", "vocab_size"), [("bpe", 330), ("unigram", 290)])
def test_sentencepiece_gives_the_same_bytes_and_the_librarys_ids(model_type: Any, vocab_size: int):
    library = pytest.importorskip("sentencepiece", reason="needs the extra `sentencepiece`")
    config = SentencePieceConfig(vocab_size=vocab_size, model_type=model_type, special_tokens=("<tool>",))
    made = [train_sentencepiece(TEXTS, config) for _ in range(3)]
    assert made[0].files == made[1].files == made[2].files
    tokenizer = made[0]
    assert tokenizer.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "<tool>": 4}
    reference = library.SentencePieceProcessor(model_proto=tokenizer.files["tokenizer.model"])
    for text in [*TEXTS, "\U0001fae8  x\n\ty", ""]:
        ids = tokenizer.encode(text, parse_special=False)
        assert ids == reference.encode(text) and tokenizer.decode(ids) == text


@pytest.mark.parametrize("texts", [[], ["", "\n\n"]])
def test_sentencepiece_refuses_texts_without_a_line(texts: list[str]):
    pytest.importorskip("sentencepiece", reason="needs the extra `sentencepiece`")
    with pytest.raises(TokenkitError, match="the training texts are empty") as caught:
        train_sentencepiece(texts, SentencePieceConfig(vocab_size=300, model_type="unigram"))
    assert caught.value.code == "LT-E280"


def test_the_command_trains_a_unigram_model(call: Any, corpus: list[Path], tmp_path: Path):
    pytest.importorskip("sentencepiece", reason="needs the extra `sentencepiece`")
    words = ["train", "sentencepiece", "-d", str(corpus[0]), "-v", "285"]
    assert call(*words, "--model-type", "unigram", "-o", str(tmp_path / "u"))[0] == 0
    engine = json.loads((tmp_path / "u" / "tokenizer.json").read_text())["model"]
    assert engine["type"] == "Unigram" and engine["byte_fallback"]
    assert load_tokenizer(tmp_path / "u").decode(load_tokenizer(tmp_path / "u").encode("she sells")) == "she sells"


def test_sentencepiece_says_why_it_refuses():
    pytest.importorskip("sentencepiece", reason="needs the extra `sentencepiece`")
    for wanted, words in (
        (5000, r"5000 is larger than .*; give (\d+) or less"),
        (250, r"250 is below .*; give (\d+) or more"),
    ):
        with pytest.raises(TokenkitError, match=f"SentencePiece refuses: `vocab_size` {words}") as caught:
            train_sentencepiece(["a b"], SentencePieceConfig(vocab_size=wanted))
        given = int(caught.value.message.split()[-3])
        assert train_sentencepiece(["a b"], SentencePieceConfig(vocab_size=given)).vocab_size == given


@pytest.mark.parametrize("character", ["z", "\u0436", "\u5b57", "\U0001f600"])
@pytest.mark.parametrize("between", [" ", "x", " " * 70_000])
def test_no_line_is_too_long_to_train_on(character: str, between: str):
    pytest.importorskip("sentencepiece", reason="needs the extra `sentencepiece`")
    long = (character * 3 + between) * (400_000 // len(character.encode()) // len(between))
    trained = train_sentencepiece(
        ["a short line", long, "the end"], SentencePieceConfig(vocab_size=276, character_coverage=1)
    )
    assert len(trained.encode(character)) <= 3  # a piece, not bytes only: bos, the space before it, and itself
    vocabulary = json.loads(trained.files["tokenizer.json"])["model"]["vocab"]
    assert character in vocabulary and "h" in vocabulary


@given(st.text(st.sampled_from("ab \u0436\U0001f600"), max_size=60), st.integers(1, 20))
def test_the_parts_of_a_long_word_or_of_many_spaces_have_room(line: str, most: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentencepiece, "_MAX_WORD", most)
        parts = list(sentencepiece._parts(line))
    runs = [len(run) for part in parts for run in re.findall("[^ ]+| +", part)]
    assert max(runs, default=0) <= most
    assert "".join(parts).replace(" ", "") == line.replace(" ", "")
    if max(map(len, re.findall("[^ ]+| +", line)), default=0) <= most:
        assert parts == [line] * bool(line)


@given(st.text(st.sampled_from("ab \u0436\U0001f600"), max_size=60), st.integers(8, 40))
def test_the_parts_of_a_long_line_are_its_words(line: str, most: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentencepiece, "MAX_SENTENCE_BYTES", most)
        patch.setattr(sentencepiece, "_CUT_CHARACTERS", most // 4)
        parts = list(sentencepiece._parts(line))
    assert all(0 < len(part.encode()) <= most for part in parts)
    assert "".join(parts).replace(" ", "") == line.replace(" ", "")
    if len(line.encode()) <= most:
        assert parts == [line] * bool(line)


def test_files_of_one_name_have_a_row_each_in_the_card(corpus: list[Path], tmp_path: Path):
    (tmp_path / "b").mkdir()
    paths = [corpus[0], corpus[1].rename(tmp_path / "b" / "a.jsonl")]
    _, card = train_files(paths, BPE)
    assert list(card.domains) == list(map(str, paths))
    assert [each.documents for each in card.domains.values()] == [6, 4]


def test_a_training_on_files_has_a_card_and_is_frozen(corpus: list[Path], tmp_path: Path):
    tokenizer, card = train_files(corpus, BPE)
    assert list(card.domains) == ["a.jsonl", "b.jsonl"] and card.domains["a.jsonl"].documents == 6
    assert card.files[0]["sha256"] == hashlib.sha256(corpus[0].read_bytes()).hexdigest()
    freeze(tokenizer, card, tmp_path / "out")
    assert load_tokenizer(tmp_path / "out").encode("she sells") == tokenizer.encode("she sells")
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["fingerprint"] == json.loads((tmp_path / "out" / "fingerprint.json").read_text())
    assert "| a.jsonl |" in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(OutputTaken, match="exists: give another name"):
        freeze(tokenizer, card, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("kind", thinned(["bpe", "sentencepiece", "char"], ["bpe"]))
def test_every_file_has_the_same_bytes_for_every_hash_seed(corpus: list[Path], tmp_path: Path, kind: str):
    size = [] if kind == "char" else ["-v", "330"]
    data = [word for path in corpus for word in ("-d", str(path))]
    found: list[dict[str, bytes]] = []
    for seed in share(("0", "1", "42", "4242"), 2):
        words = ["train", kind, *data, *size, "-o", str(tmp_path / f"out{seed}")]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(
            [sys.executable, "-m", "lazarus_tokenkit", *words], check=True, env=environment, capture_output=True
        )
        found.append({file.name: file.read_bytes() for file in (tmp_path / f"out{seed}").iterdir()})
    assert all(each == found[0] for each in found[1:]) and "report.json" in found[0]


@pytest.mark.parametrize("kind", ["bpe", "char"])
@pytest.mark.parametrize("rows", [[""], [" \n\t", ""]])
def test_a_corpus_without_text_trains_no_tokenizer(tmp_path: Path, rows: list[str], kind: str):
    path = tmp_path / "blank.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    with pytest.raises(TokenkitError, match=r"blank\.jsonl has no documents with text") as caught:
        train_files([path], BPE if kind == "bpe" else None)
    assert caught.value.code == "LT-E803"


def test_characters_are_those_that_occur(corpus: list[Path]):
    tokenizer, card = train_files(corpus, None)
    assert set(tokenizer.vocab) - set(tokenizer.special_tokens) == {letter for text in TEXTS for letter in text}
    assert card.kind == "char"


def test_an_estimate_counts_what_a_training_reads(corpus: list[Path]):
    found = estimate(corpus, "bpe")
    assert (found.documents, found.held_out) == (190, 10)
    kept = [text for part in (TEXTS[:120], TEXTS[120:]) for n, text in enumerate(part) if n % 20 != 19]
    assert found.bytes == sum(len(text.encode()) for text in kept)


def test_commands_estimate_train_and_refuse(call: Any, corpus: list[Path], tmp_path: Path):
    words = ["train", "bpe", "-d", str(corpus[0]), "-o", str(tmp_path / "t"), "-v", "300"]
    assert "114 documents" in call(*words, "--dry-run")[1] and not (tmp_path / "t").exists()
    code, out, err = call(*words)
    assert code == 0 and "held out" in out and "next: lazarus-tokenkit doctor" in err
    assert call("fingerprint", "-t", str(tmp_path / "t"), "--verify", str(tmp_path / "t" / "fingerprint.json"))[0] == 0
    assert call(*words)[0] == 2
    assert call("train", "bpe", "-d", str(corpus[0]), "-o", str(tmp_path / "u"), "-v", "9")[0] == 2
    assert call("train", "char", "-d", str(corpus[0]), "-o", str(tmp_path / "c"), "--json")[0] == 0


def test_too_little_text_is_said(call: Any, tmp_path: Path):
    (tmp_path / "d.txt").write_text("hi hi")
    code, out, err = call("train", "bpe", "-d", str(tmp_path / "d.txt"), "-o", str(tmp_path / "t"), "-v", "300")
    assert code == 0 and "none: too few documents" in out
    assert "258 ids instead of 300: the text has no more pairs to merge" in err


BLANK = st.lists(st.text(" \t\n\r\u3000", max_size=4), max_size=4)


@pytest.mark.parametrize("make", [train_bpe, train_sentencepiece, character_tokenizer])
@given(texts=BLANK)
def test_blank_texts_train_no_tokenizer(make: Any, texts: list[str]):
    configs = {train_bpe: [BpeConfig()], train_sentencepiece: [SentencePieceConfig()]}
    with pytest.raises(TokenkitError, match="at least one visible character") as caught:
        make(texts, *configs.get(make, []))
    assert caught.value.code == "LT-E280"


def test_one_text_is_no_list_of_texts():
    with pytest.raises(TokenkitError, match="give `texts` as a list"):
        train_bpe("low lower lowest", BPE)


@pytest.mark.parametrize("config", [BpeConfig, SentencePieceConfig])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"vocab_size": 10**30}, "less than or equal to 16777216"),
        ({"vocab_size": 0}, "greater than 0"),
        ({"special_tokens": ("a", "a")}, "distinct"),
        ({"special_tokens": ("",)}, "not empty"),
        ({"special_tokens": ("\udcff",)}, "UTF-8"),
    ],
)
def test_settings_of_trainers_are_bounded(config: Any, settings: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        config(**settings)
