"""Models with tokenizers that GGUF can express."""

import json
from dataclasses import replace

from lazarus_tokenkit.tokenizers import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.backends.alphabet import byte_characters

GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def keeping_spaces(lm):
    """The model with its tokenizer made to keep double spaces, as Llama's does."""
    file = json.loads(lm.tokenizer.files["tokenizer.json"])
    steps = [
        step for step in file["normalizer"]["normalizers"] if step.get("content") != "" and " {2,}" not in str(step)
    ]
    file["normalizer"]["normalizers"] = steps
    files = lm.tokenizer.files | {"tokenizer.json": json.dumps(file).encode()}
    return replace(lm, tokenizer=HuggingFaceTokenizer.from_files(files, "kept"))


def with_byte_level(lm, pre_tokenizer, **model):
    """The model with a byte-level BPE: 256 bytes, two merges, one special and one added token."""
    pieces = [*byte_characters(), "in", "Ġin", "<|end|>", "<tool>"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    file = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": 258, "content": "<|end|>", "special": True} | flags,
            {"id": 259, "content": "<tool>", "special": False} | flags,
        ],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
        | {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
        | {"vocab": {text: index for index, text in enumerate(pieces)}, "merges": [["i", "n"], ["Ġ", "in"]]}
        | model,
    }
    files = {
        "tokenizer.json": json.dumps(file).encode(),
        "tokenizer_config.json": json.dumps({"eos_token": "<|end|>", "chat_template": "{{ messages }}"}).encode(),
    }
    return replace(lm, tokenizer=HuggingFaceTokenizer.from_files(files, "byte-level"))
