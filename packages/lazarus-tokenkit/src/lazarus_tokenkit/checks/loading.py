"""Checks D01 to D04: whether all libraries load the same tokenizer from these files."""

import json
from collections.abc import Iterator

import tokenizers

from lazarus_tokenkit.checks.tokenizer_files import JSON, Finding, TokenizerFiles
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.sentencepiece import SentencePieceModel

PROBES = (
    "a  b",
    " a",
    "x<s>y",
    "hello world",
    "a\nb",
    "  two  spaces  ",
    "caf\u00e9 \u4f60\u597d",
    "12345",
    "I'm DON'T",
)
LLAMA_CLASSES = {"LlamaTokenizer", "LlamaTokenizerFast"}
"""Classes that replace the file's normalization with their own (transformers 5, tokenization_llama.py)."""
MISTRAL_TYPES = {"mistral", "mistral3", "ministral", "pixtral", "voxtral"}
WRONG_MISTRAL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
"""First part of the split pattern that Mistral published by mistake (transformers PR #42299)."""


def check(files: TokenizerFiles) -> Iterator[Finding]:
    """Yields the findings of D00 to D04."""
    if files.load_error is not None:
        yield Finding("D00", "error", "the tokenizer cannot be loaded", files.load_error.message)
    if files.engine is None:
        return
    yield from _class_of_transformers(files, files.engine)
    yield from _mistral_pattern(files)
    yield from _model_file(files, files.engine)
    if "\\p{" in json.dumps(files.tokenizer_json.get("pre_tokenizer")) or _has_byte_level_regex(files):
        yield Finding(
            "D04",
            "information",
            "the split pattern uses Unicode classes: ids of new code points depend on the library's version",
        )


def _class_of_transformers(files: TokenizerFiles, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    """D01: `LlamaTokenizer` ignores the file's normalizer and pre-tokenizer."""
    if files.config.get("tokenizer_class") not in LLAMA_CLASSES:
        return
    scheme = "always" if files.config.get("legacy", True) else "first"
    if files.config.get("add_prefix_space") is False:
        scheme = "never"
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False}
    model = files.tokenizer_json.get("model", {}) | {"dropout": None}
    changes = {"normalizer": None, "pre_tokenizer": metaspace, "truncation": None, "padding": None, "model": model}
    transformers_engine = tokenizers.Tokenizer.from_str(json.dumps(files.tokenizer_json | changes))
    for probe in PROBES:
        by_file, by_class = (each.encode(probe, add_special_tokens=False).ids for each in (engine, transformers_engine))
        if by_file != by_class:
            message = (
                f"tokenizer_class `{files.config['tokenizer_class']}` makes transformers 5 override tokenizer.json"
            )
            yield Finding("D01", "error", message, f"{probe!r} is {by_file} by the file, {by_class} by that class")
            return


def _mistral_pattern(files: TokenizerFiles) -> Iterator[Finding]:
    """D02: Mistral's wrong split pattern, about which transformers warns."""
    if files.model_config.get("model_type") in MISTRAL_TYPES and WRONG_MISTRAL in json.dumps(
        files.tokenizer_json.get("pre_tokenizer"), ensure_ascii=False
    ).replace("\\\\", "\\"):
        yield Finding(
            "D02",
            "warning",
            "the split pattern is the one that Mistral published by mistake; fix_mistral_regex changes ids",
        )


def _model_file(files: TokenizerFiles, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    """D03: tokenizer.model and tokenizer.json give different ids."""
    content = files.contents.get("tokenizer.model")
    if content is None:
        return
    try:
        converted = SentencePieceModel.parse(content, files.name).tokenizer_file()
    except TokenizerError as error:
        yield Finding("D03", "error", "tokenizer.model cannot be read", error.message)
        return
    other = tokenizers.Tokenizer.from_buffer(converted)
    for probe in PROBES:
        first, second = (each.encode(probe, add_special_tokens=False).ids for each in (engine, other))
        if first != second:
            evidence = f"{probe!r} is {first} by tokenizer.json, {second} by tokenizer.model"
            yield Finding("D03", "error", "tokenizer.model and tokenizer.json are different tokenizers", evidence)
            return


def _has_byte_level_regex(files: TokenizerFiles) -> bool:
    steps: JSON = files.tokenizer_json.get("pre_tokenizer") or {}
    parts: list[JSON] = steps.get("pretokenizers", [steps])
    return any(part.get("type") == "ByteLevel" and part.get("use_regex", True) for part in parts)
