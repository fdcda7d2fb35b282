import json
import os
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from lazarus_tokenkit import compute_fingerprint, load_tokenizer
from lazarus_tokenkit.errors import TokenizerError, TokenizerNotFound
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.backends.parallelism import PARALLELISM, batches_on_one_thread

BOS_FIRST = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
}


def test_roles_come_from_the_config(build: Any):
    tokenizer = build({"bos_token": {"content": "<s>"}, "eos_token": "<|end|>", "pad_token": None})
    ids = tokenizer.special_tokens
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (ids["<s>"], ids["<|end|>"], None)


def test_bare_files_take_the_conventional_names(build: Any):
    tokenizer = build(config={})
    assert (tokenizer.bos_id, tokenizer.eos_id) == (0, 1)


def test_adding_bos_is_seen_in_what_the_engine_does_not_in_what_a_config_says(build: Any, small_file: dict[str, Any]):
    claims = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    assert not build(claims).adds_bos
    assert build(claims, small_file | {"post_processor": BOS_FIRST}).adds_bos


def test_encode_adds_nothing(build: Any, small_file: dict[str, Any]):
    tokenizer = build(file=small_file | {"post_processor": BOS_FIRST})
    assert tokenizer.bos_id not in tokenizer.encode("she sells")


def test_special_text_becomes_a_token_only_on_request(build: Any):
    tokenizer = build()
    end = tokenizer.special_tokens["<|end|>"]
    assert end in tokenizer.encode("a<|end|>b")
    assert end not in tokenizer.encode("a<|end|>b", parse_special=False)
    assert tokenizer.decode(tokenizer.encode("a<|end|>b", parse_special=False)) == "a<|end|>b"


WORD = {"content": "Sea Shore", "special": False, "single_word": True, "normalized": True}
KEPT = {"content": "<keep>", "special": False, "single_word": False, "normalized": False}


def test_literal_ids_are_those_of_an_engine_of_its_own(build: Any, small_file: dict[str, Any], fuzz_texts: list[str]):
    size = len(small_file["model"]["vocab"])
    added = [
        {"id": size, "lstrip": False, "rstrip": True} | WORD,
        {"id": size + 1, "lstrip": True, "rstrip": False} | KEPT,
    ]
    small_file["added_tokens"] += added
    tokenizer = build(file=small_file | {"normalizer": {"type": "Lowercase"}})
    own = tokenizers.Tokenizer.from_buffer(tokenizer.files["tokenizer.json"])
    own.encode_special_tokens = True
    texts = [f"<|end|>{text}<s> Sea  sea SHORE {text}<keep>  shoreSea Shore" for text in fuzz_texts[:500]]
    found = tokenizer.encode_batch(texts, parse_special=False)
    assert found == [encoding.ids for encoding in own.encode_batch(texts, add_special_tokens=False)]
    assert {size, size + 1} <= {number for ids in found for number in ids}


def test_batches_equal_single_texts(build: Any):
    tokenizer = build()
    texts = ["she sells", "", "<s>sea</s>", "\u00e9\u4f60\n\n "]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


@pytest.mark.parametrize("before", [None, "true"])
def test_the_library_s_switch_is_put_back(monkeypatch: pytest.MonkeyPatch, before: str | None):
    monkeypatch.delenv(PARALLELISM, raising=False)
    if before is not None:
        monkeypatch.setenv(PARALLELISM, before)
    with pytest.raises(KeyboardInterrupt), batches_on_one_thread():
        assert os.environ[PARALLELISM] == "false"
        raise KeyboardInterrupt
    assert os.environ.get(PARALLELISM) == before


def test_special_spans_swallow_the_white_space_that_encode_swallows(build: Any, small_file: dict[str, Any]):
    token = next(token for token in small_file["added_tokens"] if token["content"] == "<|end|>")
    token["rstrip"] = True
    tokenizer = build(file=small_file)
    assert tokenizer.special_spans("a<|end|>\n b") == [(1, 10, token["id"])]
    assert tokenizer.encode("a<|end|>\n b") == [*tokenizer.encode("a"), token["id"], *tokenizer.encode("b")]


def test_truncation_in_the_file_is_switched_off_and_said(build: Any, small_file: dict[str, Any], caplog: Any):
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    tokenizer = build(file=small_file | {"truncation": cut})
    assert tokenizer.encode("she sells sea shells") == build(file=small_file).encode("she sells sea shells")
    assert "truncates or pads" in caplog.text


def test_dropout_is_refused(build: Any, small_file: dict[str, Any]):
    small_file["model"]["dropout"] = 0.1
    with pytest.raises(TokenizerError, match="dropout"):
        build(file=small_file)


@pytest.mark.parametrize("text", ["<nowhere>", "sea"])
def test_an_eos_that_is_no_special_token_is_refused(build: Any, text: str):
    with pytest.raises(TokenizerError, match="eos_token"):
        build({"eos_token": text})


def test_save_copies_every_file_byte_for_byte(tmp_path: Path, small_file: dict[str, Any]):
    written = {"tokenizer.json": json.dumps(small_file, indent=3), "tokenizer_config.json": ' {"eos_token":"</s>"}'}
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    for name, text in (written | {"model.safetensors": "weights", "chat_template.jinja": "{{ 1 }}"}).items():
        (source / name).write_text(text)
    tokenizer = load_tokenizer(source)
    (source / "tokenizer.json").write_text("changed since")
    tokenizer.save(copy)
    assert {file.name: file.read_text() for file in copy.iterdir()} == written | {"chat_template.jinja": "{{ 1 }}"}


def test_a_bare_file_is_saved_with_a_config_that_names_its_roles(tmp_path: Path, small_file: dict[str, Any]):
    bare = HuggingFaceTokenizer.from_files({"tokenizer.json": json.dumps(small_file).encode()}, "bare")
    bare.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"]) == ("<s>", "</s>")
    assert compute_fingerprint(tmp_path).fingerprint == compute_fingerprint(bare).fingerprint


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "1.0"}', "\x00\xff"])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: str):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_an_unknown_name_says_what_is_accepted(tmp_path: Path):
    with pytest.raises(
        TokenizerNotFound, match=r"give `byte`, `char:CHARACTERS`, a directory with tokenizer\.json"
    ) as caught:
        load_tokenizer("somewhere/deep/name")
    assert (caught.value.exit_code, caught.value.code) == (2, "LT-E101")
    with pytest.raises(TokenizerNotFound, match="without"):
        load_tokenizer(tmp_path)


def test_gpt2_gives_the_published_ids(real_data: Path):
    # Source: openai/gpt-2 and tiktoken's README.
    tokenizer = load_tokenizer(real_data / "tokenizers" / "gpt2")
    assert tokenizer.encode("hello world") == [31373, 995]
    assert (tokenizer.eos_id, tokenizer.vocab_size) == (50256, 50257)


def test_llama2_gives_the_published_ids(real_data: Path):
    # Source: karpathy/llama2.c, test_all.py and run.c's tokenizer tests.
    tokenizer = load_tokenizer(real_data / "tokenizers" / "llama2")
    assert tokenizer.encode("I believe the meaning of life is") == [306, 4658, 278, 6593, 310, 2834, 338]
    assert tokenizer.adds_bos and tokenizer.bos_id == 1


def test_what_is_no_text_is_refused_by_number_and_place(build):
    tokenizer = build()
    for encode in (tokenizer.encode_batch, tokenizer.segment_batch):
        with pytest.raises(TokenizerError, match=r"text 2 of 2 has at character 3 half a surrogate pair, U\+D83D"):
            encode(["fine", "no\ud83d"])
    with pytest.raises(TokenizerError, match="the text has at character 1"):
        tokenizer.encode("\udc00")
    with pytest.raises(TokenizerError, match="text 1 of 2 is of type `int`"):
        tokenizer.encode_batch([3, "x"])
