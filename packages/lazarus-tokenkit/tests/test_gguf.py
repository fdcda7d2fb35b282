"""Vocabularies of GGUF files against the tokenizers that they were made from."""

import json

import pytest

from lazarus_tokenkit import load_tokenizer
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers import gguf_vocabulary, tokenizer_from_gguf

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SMALL = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *BYTES, "\u2581", "a", "b", "ab", "\u2581a"],
    "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, 1, 1, 1, 1, 1],
    "tokenizer.ggml.scores": [0.0] * 259 + [-3.0, -4.0, -5.0, -1.0, -2.0],
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}


@pytest.fixture(scope="module")
def text(real_data):
    return (real_data / "datasets/text/wikitext2-valid.txt").read_text(encoding="utf-8")[:60_000]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama2", "gpt2"])
@pytest.mark.thorough
def test_a_published_tokenizer_survives_the_format(real_data, text, name):
    original = load_tokenizer(real_data / "tokenizers" / name)
    read = tokenizer_from_gguf(gguf_vocabulary(original, original.vocab_size), "read")
    assert read.encode(text) == original.encode(text)
    assert read.special_tokens == original.special_tokens


@pytest.mark.slow
def test_sentencepiece_scores_merge_as_sentencepiece_does(real_data, text):
    import sentencepiece

    file = real_data / "tokenizers/llama2/tokenizer.model"
    reference = sentencepiece.SentencePieceProcessor(model_file=str(file))
    kinds = [
        6 if reference.IsByte(i) else 3 if reference.IsControl(i) else 2 if reference.IsUnknown(i) else 1
        for i in range(reference.GetPieceSize())
    ]
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [reference.IdToPiece(i) for i in range(len(kinds))],
        "tokenizer.ggml.scores": [reference.GetScore(i) for i in range(len(kinds))],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    lines = [*text.splitlines(), "   a", "a     b  ", "\t"]
    assert tokenizer_from_gguf(metadata, "read").encode_batch(lines, parse_special=False) == reference.Encode(lines)


def test_the_piece_with_the_best_score_is_merged_first():
    tokenizer = tokenizer_from_gguf(SMALL, "small")
    assert [tokenizer.vocab[piece] for piece in ("\u2581", "ab")] == tokenizer.encode("ab")  # ab before _a
    swapped = SMALL | {"tokenizer.ggml.scores": [0.0] * 259 + [-3.0, -4.0, -5.0, -2.0, -1.0]}
    assert tokenizer_from_gguf(swapped, "small").encode("ab") == [tokenizer.vocab[one] for one in ("\u2581a", "b")]


def test_bos_prefix_and_bytes_are_those_of_the_file():
    tokenizer = tokenizer_from_gguf(SMALL, "small")
    assert (tokenizer.adds_bos, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id) == (True, 1, 2, 0)
    assert tokenizer.decode(tokenizer.encode("a\n\u2713")) == "a\n\u2713"
    bare = SMALL | {"tokenizer.ggml.add_space_prefix": False, "tokenizer.ggml.add_bos_token": False}
    without = tokenizer_from_gguf(bare, "small")
    assert without.encode("ab") == [without.vocab["ab"]] and not without.adds_bos


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"model": "t5"}, "LT-E931", "'t5'"),
        ({"model": "gpt2", "pre": "falcon"}, "LT-E931", "'falcon'"),
        ({"model": "gpt2"}, "LT-E931", "None"),
        ({"tokens": []}, "LT-E930", "no tokens"),
        ({"tokens": [1, 2]}, "LT-E930", "not a list of str"),
        ({"token_type": [1]}, "LT-E930", "1 kinds of 264"),
        ({"token_type": [9] * 264}, "LT-E930", "unknown kind 9"),
        ({"scores": [0.0]}, "LT-E930", "1 scores of 264"),
        ({"scores": [float("nan")] * 264}, "LT-E930", "NaN"),
        ({"eos_token_id": 264}, "LT-E930", "264 is not the id"),
        ({"bos_token_id": -1}, "LT-E930", "-1 is not the id"),
        ({"add_bos_token": "yes"}, "LT-E930", "not a boolean"),
        ({"tokens": [*SMALL["tokenizer.ggml.tokens"][:-1], "ab"]}, "LT-E930", "'ab' twice"),
    ],
)
def test_what_is_invalid_is_named(change, code, words):
    changed = SMALL | {f"tokenizer.ggml.{key}": value for key, value in change.items()}
    with pytest.raises(TokenizerError) as caught:
        tokenizer_from_gguf(changed, "small")
    assert caught.value.code == code and words in caught.value.message


def test_a_merge_without_its_token_is_named(real_data):
    original = load_tokenizer(real_data / "tokenizers/gpt2")
    metadata = gguf_vocabulary(original, original.vocab_size)
    merges = [*metadata["tokenizer.ggml.merges"][:10], "Q qqq"]
    with pytest.raises(TokenizerError, match="merge 10, 'Q qqq': no token") as caught:
        tokenizer_from_gguf(metadata | {"tokenizer.ggml.merges": merges}, "x")
    assert caught.value.code == "LT-E930"


def test_tokenizers_that_the_format_cannot_express_are_refused(real_data):
    for tokenizer, words in (
        (load_tokenizer(real_data / "tokenizers/tok512"), "other ids"),  # folds spaces
        (load_tokenizer("byte"), "no name in the format"),
    ):
        with pytest.raises(TokenizerError, match=words) as caught:
            gguf_vocabulary(tokenizer, tokenizer.vocab_size)
        assert caught.value.code == "LT-E932"
    llama2 = load_tokenizer(real_data / "tokenizers/llama2")
    with pytest.raises(TokenizerError, match="has the id 31999, but the model has 100 rows"):
        gguf_vocabulary(llama2, 100)
    assert json.dumps(gguf_vocabulary(llama2, 32_004))
