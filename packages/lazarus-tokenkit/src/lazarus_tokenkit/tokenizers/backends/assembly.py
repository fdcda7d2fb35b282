"""Builds the contents of a `tokenizer.json`, into which other formats are converted.

One engine for all formats means one behaviour of offsets, special tokens, fingerprints and saving. The tests of each
format compare the ids with those of the format's own library on fuzzed texts.
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
    """Builds the contents of a `tokenizer.json`. The components have the format of the `tokenizers` library.

    Args:
        model: The model with its type, vocabulary and merges.
        special_tokens: Text to id of the special tokens.
        user_tokens: Text to id of added tokens that are ordinary text.
        normalizer: First step: changes the text.
        pre_tokenizer: Second step: splits the text.
        post_processor: Last step: adds special tokens.
        decoder: Turns pieces into text.
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
    """Builds the model component of a byte-pair encoding.

    Args:
        vocab: Piece to id.
        merges: Pairs of pieces, best first.
        flags: Further members of the component, such as `byte_fallback`.
    """
    return {"type": "BPE", **flags, "vocab": dict(vocab), "merges": [list(pair) for pair in merges]}


def begins_with(bos: str | None, bos_id: int | None, eos: str | None = None, eos_id: int | None = None) -> JSON | None:
    """Builds the post-processor that puts bos before and eos after a text, or returns None without bos and eos.

    Args:
        bos: Text of the bos token, or None.
        bos_id: Id of the bos token.
        eos: Text of the eos token, or None.
        eos_id: Id of the eos token.
    """
    tokens = [(text, number) for text, number in ((bos, bos_id), (eos, eos_id)) if text is not None]
    if not tokens:
        return None
    around = {kind: _around(bos, eos, names) for kind, names in (("single", "A"), ("pair", "AB"))}
    special = {text: {"id": text, "ids": [number], "tokens": [text]} for text, number in tokens}
    return {"type": "TemplateProcessing", **around, "special_tokens": special}


def config_file(roles: Mapping[str, str | None], chat_template: str | None = None) -> bytes:
    """Builds the contents of a `tokenizer_config.json` with the generic tokenizer class.

    Args:
        roles: Role (`bos`, `eos`, `pad`, `unk`) to the token's text, or None.
        chat_template: Jinja source, or None.
    """
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
