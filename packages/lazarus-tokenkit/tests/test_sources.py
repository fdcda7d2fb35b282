import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_tokenkit import Tokenizer, compute_fingerprint, load_tokenizer
from lazarus_tokenkit.errors import TokenizerError, TokenizerNotFound
from lazarus_tokenkit.tokenizers.backends import tiktoken as encodings
from suite import thinned

NAMES = ["r50k_base", "p50k_base", "p50k_edit", "cl100k_base", "o200k_base", "o200k_harmony"]
ISSUED = ["gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo", "o1", "o1-mini", "o3-mini", "gpt-5"]


@pytest.fixture
def ranks(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = real_data / "tokenizers" / "tiktoken"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    return folder


def differing(texts: list[str], tokenizer: Tokenizer, reference: Callable[[str], Sequence[int]]) -> list[str]:
    found = tokenizer.encode_batch(texts, parse_special=False)
    return [text for text, ids in zip(texts, found, strict=True) if list(reference(text)) != ids]


@pytest.mark.slow
@pytest.mark.parametrize("name", thinned(NAMES, ["p50k_edit", "cl100k_base"]))
@pytest.mark.thorough
def test_encodings_give_the_ids_of_tiktoken_and_lose_nothing(fuzz_texts: list[str], ranks: Path, name: str):
    tiktoken = pytest.importorskip("tiktoken")
    tokenizer, reference = load_tokenizer(name), tiktoken.get_encoding(name)
    assert tokenizer.vocab_size == reference.n_vocab
    assert differing(fuzz_texts, tokenizer, reference.encode_ordinary) == []
    assert [text for text in fuzz_texts if tokenizer.decode(tokenizer.encode(text, parse_special=False)) != text] == []
    named = reference._special_tokens
    assert tokenizer.special_tokens == {text: number for text, number in named.items() if text != "<|reserved_200018|>"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama2", "tok512"])
@pytest.mark.parametrize("file", ["tokenizer.model", "tokenizer.json"])
def test_both_forms_give_the_ids_of_sentencepiece(fuzz_texts: list[str], real_data: Path, name: str, file: str):
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = real_data / "tokenizers" / name
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert differing(fuzz_texts, load_tokenizer(folder / file), reference.encode) == []


@pytest.mark.slow
@pytest.mark.parametrize("files", [["tokenizer.json"], ["vocab.json", "merges.txt"]])
@pytest.mark.thorough
def test_both_forms_of_gpt2_give_the_ids_of_tiktoken(
    fuzz_texts: list[str], ranks: Path, tmp_path: Path, files: list[str]
):
    tiktoken = pytest.importorskip("tiktoken")
    for file in files:
        shutil.copy(ranks.parent / "gpt2" / file, tmp_path)
    assert differing(fuzz_texts, load_tokenizer(tmp_path), tiktoken.get_encoding("gpt2").encode_ordinary) == []
    assert load_tokenizer(tmp_path / files[0]).eos_id == 50256


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
def test_models_of_every_kind_give_the_ids_of_sentencepiece(fuzz_texts: list[str], tmp_path: Path, kind: str):
    sentencepiece = pytest.importorskip("sentencepiece")
    prefix = tmp_path / "m"
    texts = ["she sells sea shells on the shore", "hello world 123 456", "caf\u00e9 \u4f60\u597d \uff21\uff22"] * 40
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(prefix),
        vocab_size=60 if kind != "char" else 40,
        model_type=kind,
        hard_vocab_limit=False,
        minloglevel=2,
        user_defined_symbols=["<tool>"],
    )
    reference = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    tokenizer = load_tokenizer(prefix.with_suffix(".model"))
    assert tokenizer.unk_id == reference.unk_id()
    # The engine's unigram finds the texts of all pieces, also of those that SentencePiece keeps apart.
    plain = [text for text in texts + fuzz_texts if text.isascii() and not (kind == "unigram" and "s>" in text)]
    assert [text for text in plain if tokenizer.encode(text, parse_special=False) != reference.encode(text)] == []


@pytest.mark.thorough
def test_every_name_of_the_issue_is_an_encoding_and_none_is_guessed(ranks: Path):
    assert all(encodings.is_known(name) for name in ISSUED)
    assert load_tokenizer("gpt-4").encode("hello world") == [15339, 1917]
    for guess in ("gpt-4-something", "gpt-6", "o200k"):
        with pytest.raises(TokenizerNotFound, match="no tokenizer"):
            load_tokenizer(guess)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"hidden_size": 64}', "it is JSON without a `model`"),
        (b'{"model": "gpt2"}', "it is JSON without a `model`"),
        (b'{"a": 1}\n{"a": 2}\n', "the file is not JSON"),
        (b"\xff", "the file is not JSON"),
    ],
)
def test_a_file_that_is_no_tokenizer_says_what_it_is(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerNotFound, match=words):
        load_tokenizer(path)


def test_a_config_beside_a_tokenizer_names_the_directory(tmp_path: Path):
    load_tokenizer("byte").save(tmp_path)
    with pytest.raises(TokenizerNotFound, match=f"`{tmp_path}` has a tokenizer.json"):
        load_tokenizer(tmp_path / "tokenizer_config.json")


def test_no_name_is_no_tokenizer():
    with pytest.raises(TokenizerNotFound, match="the tokenizer's name is empty"):
        load_tokenizer("")


def test_a_damaged_encoding_is_refused_and_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    path = tmp_path / "cl100k_base.tiktoken"
    path.write_text("IQ== 0\n")
    with pytest.raises(TokenizerError, match=r"is not the published cl100k_base: sha256 .* this file is not changed"):
        load_tokenizer("gpt-4")
    assert path.read_text() == "IQ== 0\n"
    with pytest.raises(TokenizerError, match="is not a published rank file"):
        load_tokenizer(path)


def test_an_encoding_that_is_not_there_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(encodings, "_folders", lambda: [tmp_path])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TokenizerNotFound, match=r"HF_HUB_OFFLINE.*save https://.*o200k_base\.tiktoken") as caught:
        load_tokenizer("gpt-4o")
    assert caught.value.code == "LT-E102"


@pytest.mark.parametrize("encoding", thinned(["r50k_base", "cl100k_base"], ["r50k_base"]))
@pytest.mark.thorough
def test_a_file_of_ranks_is_known_by_its_content(ranks: Path, encoding: str):
    file = hashlib.sha1(encodings.URL.format(encoding).encode()).hexdigest()
    assert load_tokenizer(ranks / file).name == encoding


@pytest.mark.thorough
def test_what_an_encoding_saves_loads_as_the_same(ranks: Path, tmp_path: Path):
    tokenizer = load_tokenizer("r50k_base")
    tokenizer.save(tmp_path)
    assert compute_fingerprint(tmp_path).fingerprint == compute_fingerprint(tokenizer).fingerprint


def test_models_with_other_metadata_have_one_fingerprint(real_data: Path, tmp_path: Path):
    content = (real_data / "tokenizers" / "tok512" / "tokenizer.model").read_bytes()
    other = content.replace(b"data/tiny.txt", b"somewhere.txt")
    assert other != content
    prints = []
    for number, model in enumerate((content, other)):
        path = tmp_path / f"{number}.model"
        path.write_bytes(model)
        prints.append(compute_fingerprint(path).components)
    assert prints[0] == prints[1]


@pytest.mark.parametrize("content", [b"", b"\x0a", b"not a model at all", b"\xff" * 40, b"\x0a\x02\x0a\x00" * 3])
def test_a_damaged_model_is_one_clear_error(tmp_path: Path, content: bytes):
    (tmp_path / "m.model").write_bytes(content)
    with pytest.raises(TokenizerError):
        load_tokenizer(tmp_path / "m.model")


@pytest.mark.parametrize(
    ("vocab", "merges", "words"),
    [
        ("[]", "", "is not a vocabulary"),
        ("{", "", "is not JSON"),
        ('{"a": 0}', "", "is not byte-level"),
        (None, "#version: 0.2\na b\nab  c\n", r"merges.txt:3: a merge must be two pieces"),
        (None, "#version: 0.2\na b\n", "the vocabulary lacks 'ab'"),
    ],
)
def test_damaged_merges_are_named(tmp_path: Path, vocab: str | None, merges: str, words: str):
    from lazarus_tokenkit.tokenizers.backends.alphabet import byte_alphabet

    (tmp_path / "vocab.json").write_text(json.dumps(dict(byte_alphabet())) if vocab is None else vocab)
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(TokenizerError, match=words):
        load_tokenizer(tmp_path)


def test_half_of_two_files_is_refused(tmp_path: Path):
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(TokenizerError, match=r"is one of two files: vocab\.json is missing"):
        load_tokenizer(tmp_path / "merges.txt")


def test_a_malformed_line_of_ranks_is_named():
    with pytest.raises(TokenizerError, match="x:2: the line must be a base64 text and a number"):
        encodings.parse_ranks(base64.b64encode(b"a") + b" 0\n!! 1\n", Path("x"))


@given(st.text())
def test_characters_are_ids_and_strangers_are_unk(text: str):
    tokenizer = load_tokenizer("char:")
    ids = tokenizer.encode(text, parse_special=False)
    assert len(ids) == len(text)
    assert [number == tokenizer.unk_id for number in ids] == [letter not in tokenizer.vocab for letter in text]


def test_a_character_tokenizer_has_the_characters_named():
    tokenizer = load_tokenizer("char:banana")
    assert list(tokenizer.vocab) == ["<pad>", "<unk>", "<bos>", "<eos>", "a", "b", "n"]
    assert tokenizer.decode(tokenizer.encode("banana")) == "banana"


def cached_repository(cache: Path, small_file: dict[str, Any]) -> str:
    """The layout of the hub's cache, with one tokenizer in it."""
    commit, repository = "0123456789abcdef" * 2 + "01234567", cache / "models--some--thing"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "tokenizer.json").write_text(json.dumps(small_file))
    return commit


def test_a_cached_repository_opens_offline_at_a_known_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_file: dict[str, Any]
):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = cached_repository(tmp_path, small_file)
    tokenizer = load_tokenizer("some/thing")
    assert tokenizer.library().endswith(f"some/thing@{commit}")
    assert tokenizer.encode("she sells") == load_tokenizer(f"some/thing@{commit}").encode("she sells")
    assert compute_fingerprint(tokenizer).library.endswith(commit)
    with pytest.raises(TokenizerNotFound, match=r"no tokenizer `some/other`: .* the hub cannot be reached"):
        load_tokenizer("some/other")
