"""Builds the contents of a `tokenizer.json` from parts: what other formats are turned into.

One engine for all of them means one set of laws: offsets, special tokens, fingerprints, saving. That the ids are those
of the format's own library is shown by comparison on fuzz texts, in the tests of each format.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]

BYTE_LEVEL: JSON = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def tokenizer_file(
    model: JSON,
    special_tokens: Mapping[str, int],
    *,
    user_tokens: Mapping[str, int] | None = None,
    normalizer: JSON | None = None,
    pre_tokenizer: JSON | None = None,
    post_processor: JSON | None = None,
    decoder: JSON | None = None,
) -> bytes:
    """The file.

    Args:
        model: With its type, vocabulary and merges.
        special_tokens: Text to id of those that are not text.
        user_tokens: Text to id of those that are text, but always one token.
        normalizer: What happens to a text first.
        pre_tokenizer: Where it is cut.
        post_processor: What is put around it.
        decoder: How pieces become text again.
    """
    added = [(number, text, True) for text, number in special_tokens.items()]
    added += [(number, text, False) for text, number in (user_tokens or {}).items()]
    members: JSON = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": text, "special": special} | _FLAGS for number, text, special in sorted(added)
        ],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": model,
    }
    return (json.dumps(members, ensure_ascii=False, indent=None) + "\n").encode()


def bpe(vocab: Mapping[str, int], merges: Sequence[Sequence[str]], **flags: Any) -> JSON:
    """A byte-pair model."""
    return {"type": "BPE", **flags, "vocab": dict(vocab), "merges": [list(pair) for pair in merges]}


def begins_with(bos: str | None, bos_id: int | None, eos: str | None = None, eos_id: int | None = None) -> JSON | None:
    """The post-processor that puts bos before and eos behind a text, where they are given."""
    tokens = [(text, number) for text, number in ((bos, bos_id), (eos, eos_id)) if text is not None]
    if not tokens:
        return None
    around = {kind: _around(bos, eos, names) for kind, names in (("single", "A"), ("pair", "AB"))}
    special = {text: {"id": text, "ids": [number], "tokens": [text]} for text, number in tokens}
    return {"type": "TemplateProcessing", **around, "special_tokens": special}


def config_file(roles: Mapping[str, str | None], chat_template: str | None = None) -> bytes:
    """The contents of a `tokenizer_config.json` that names the roles and the generic class."""
    members: JSON = {f"{role}_token": text for role, text in roles.items()}
    if chat_template is not None:
        members["chat_template"] = chat_template
    members |= {"clean_up_tokenization_spaces": False, "tokenizer_class": "PreTrainedTokenizerFast"}
    return (json.dumps(members, indent=1, ensure_ascii=False) + "\n").encode()


def _around(bos: str | None, eos: str | None, names: str) -> list[JSON]:
    steps: list[JSON] = []
    for number, name in enumerate(names):
        steps += [{"SpecialToken": {"id": bos, "type_id": number}}] if bos else []
        steps.append({"Sequence": {"id": name, "type_id": number}})
        steps += [{"SpecialToken": {"id": eos, "type_id": number}}] if eos else []
    return steps
