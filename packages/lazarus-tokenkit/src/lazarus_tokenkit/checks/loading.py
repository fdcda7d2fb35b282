"""D01 to D04: whether every library makes the same tokenizer of these files."""

import json
from collections.abc import Iterator

import tokenizers

from lazarus_tokenkit.checks.tokenizer_files import JSON, Finding, Patient
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
"""Classes that put their own normalisation in the place of the file's (transformers 5, tokenization_llama.py)."""
MISTRAL_TYPES = {"mistral", "mistral3", "ministral", "pixtral", "voxtral"}
WRONG_MISTRAL = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
"""How the pattern begins that their tokenizers were published with by mistake (transformers PR #42299)."""


def check(patient: Patient) -> Iterator[Finding]:
    """What was found."""
    if patient.refusal is not None:
        yield Finding("D00", "error", "it does not open", patient.refusal.message)
    if patient.engine is None:
        return
    yield from _class_of_transformers(patient, patient.engine)
    yield from _mistral_pattern(patient)
    yield from _model_file(patient, patient.engine)
    if "\\p{" in json.dumps(patient.file.get("pre_tokenizer")) or _has_byte_level_regex(patient):
        yield Finding(
            "D04",
            "information",
            "texts are cut by classes of Unicode: ids of new code points depend on the library's version",
        )


def _class_of_transformers(patient: Patient, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    """D01: `LlamaTokenizer` builds its own normalizer and pre-tokenizer, whatever the file says."""
    if patient.config.get("tokenizer_class") not in LLAMA_CLASSES:
        return
    scheme = "always" if patient.config.get("legacy", True) else "first"
    if patient.config.get("add_prefix_space") is False:
        scheme = "never"
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False}
    model = patient.file.get("model", {}) | {"dropout": None}
    changes = {"normalizer": None, "pre_tokenizer": metaspace, "truncation": None, "padding": None, "model": model}
    theirs = tokenizers.Tokenizer.from_str(json.dumps(patient.file | changes))
    for probe in PROBES:
        ours, other = (each.encode(probe, add_special_tokens=False).ids for each in (engine, theirs))
        if ours != other:
            words = (
                f"tokenizer_class `{patient.config['tokenizer_class']}` makes transformers 5 overrule tokenizer.json"
            )
            yield Finding("D01", "error", words, f"{probe!r} is {ours} by the file, {other} by that class")
            return


def _mistral_pattern(patient: Patient) -> Iterator[Finding]:
    """D02: the pattern that a warning of transformers is about."""
    if patient.model_config.get("model_type") in MISTRAL_TYPES and WRONG_MISTRAL in json.dumps(
        patient.file.get("pre_tokenizer"), ensure_ascii=False
    ).replace("\\\\", "\\"):
        yield Finding(
            "D02",
            "warning",
            "texts are cut by the pattern that Mistral published by mistake; fix_mistral_regex changes ids",
        )


def _model_file(patient: Patient, engine: tokenizers.Tokenizer) -> Iterator[Finding]:
    """D03: two forms of one tokenizer that are not one."""
    content = patient.files.get("tokenizer.model")
    if content is None:
        return
    try:
        converted = SentencePieceModel.parse(content, patient.name).tokenizer_file()
    except TokenizerError as error:
        yield Finding("D03", "error", "tokenizer.model cannot be read", error.message)
        return
    other = tokenizers.Tokenizer.from_buffer(converted)
    for probe in PROBES:
        first, second = (each.encode(probe, add_special_tokens=False).ids for each in (engine, other))
        if first != second:
            evidence = f"{probe!r} is {first} by tokenizer.json, {second} by tokenizer.model"
            yield Finding("D03", "error", "tokenizer.model and tokenizer.json are two tokenizers", evidence)
            return


def _has_byte_level_regex(patient: Patient) -> bool:
    steps: JSON = patient.file.get("pre_tokenizer") or {}
    parts: list[JSON] = steps.get("pretokenizers", [steps])
    return any(part.get("type") == "ByteLevel" and part.get("use_regex", True) for part in parts)
