"""Describes a tokenizer in the metadata of a GGUF file, or refuses one that the format cannot express.

The description is read back and compared with the tokenizer on probe texts, so that a difference is found before the file exists.
"""

import json
from collections.abc import Mapping
from typing import Any

from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.assembly import JSON
from lazarus_tokenkit.tokenizers.backends.companions import TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.gguf_files.gguf import PREFIX, ROLES, PieceKind, tokenizer_from_gguf
from lazarus_tokenkit.tokenizers.backends.gguf_files.gguf_splits import splitting_of
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.probes import probes
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

_NEWLINE = "<0x0A>"  # this piece exists in every SentencePiece vocabulary with byte fallback


def gguf_vocabulary(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """The metadata of a tokenizer: texts, numbers, booleans and lists by key.

    Args:
        tokenizer: A byte-level BPE or a SentencePiece BPE with byte fallback, of a `tokenizer.json`.
        rows: Rows of the model's embedding; rows without a token are written as unused.

    Raises:
        TokenizerError: The format cannot express the tokenizer (LT-E932).
    """
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        raise _refusal("only tokenizers with a `tokenizer.json` can be exported")
    file: JSON = json.loads(tokenizer.files[TOKENIZER_FILE].removeprefix(b"\xef\xbb\xbf"))
    if file["model"].get("type") != "BPE":
        raise _refusal(f"the model {file['model'].get('type')!r} is not a BPE")
    pieces: dict[str, int] = file["model"]["vocab"]
    if _NEWLINE in pieces:
        choices = [_sentencepiece(file, rows) | {f"{PREFIX}add_space_prefix": prefix} for prefix in (True, False)]
    else:
        choices = [_byte_level(file, rows)]
    choices = [_around(tokenizer) | choice for choice in choices]
    differing = [_first_difference(tokenizer, choice) for choice in choices]
    if None not in differing:
        raise _refusal(f"a reader would give other ids for {differing[0]!r}")
    return choices[differing.index(None)]


def _refusal(reason: str) -> TokenizerError:
    return TokenizerError(f"the format cannot express the tokenizer: {reason}", "LT-E932")


def _around(tokenizer: Tokenizer) -> dict[str, Any]:
    ids = {key: getattr(tokenizer, f"{role}_id") for role, key in ROLES.items()}
    return {
        **{PREFIX + key: index for key, index in ids.items() if index is not None},
        f"{PREFIX}add_bos_token": tokenizer.adds_bos,
        f"{PREFIX}add_eos_token": tokenizer.adds_eos,
        **({"tokenizer.chat_template": tokenizer.chat_template} if tokenizer.chat_template else {}),
    }


def _byte_level(file: JSON, rows: int) -> dict[str, Any]:
    splitting = splitting_of(file)
    if splitting is None:
        raise _refusal("its splitting of text before merging has no name in the format")
    texts, kinds = _pieces(file, rows, {})
    return {
        f"{PREFIX}model": "gpt2",
        f"{PREFIX}pre": splitting.names[0],
        f"{PREFIX}tokens": texts,
        f"{PREFIX}token_type": kinds,
        f"{PREFIX}merges": [" ".join(merge) for merge in _merges(file)],
    }


def _merges(file: JSON) -> list[tuple[str, str]]:
    """The pairs of a `tokenizer.json`; older files write a pair as one text."""
    pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in file["model"]["merges"]]
    return [(left, right) for left, right in pairs]


def _sentencepiece(file: JSON, rows: int) -> dict[str, Any]:
    """Scores in the order of the merges: SentencePiece merges the pair whose union has the best score."""
    pieces: dict[str, int] = file["model"]["vocab"]
    special = {index: PieceKind.UNKNOWN for text, index in pieces.items() if text == file["model"].get("unk_token")}
    special |= {
        index: PieceKind.BYTE for text, index in pieces.items() if len(text) == len(_NEWLINE) and text.startswith("<0x")
    }
    texts, kinds = _pieces(file, rows, special)
    merges = _merges(file)
    rank = {left + right: -float(place) for place, (left, right) in reversed(list(enumerate(merges)))}
    scored = (PieceKind.NORMAL, PieceKind.USER_DEFINED)
    return {
        f"{PREFIX}model": "llama",
        f"{PREFIX}tokens": texts,
        f"{PREFIX}scores": [
            rank.get(text, -float(len(merges))) if kind in scored else 0.0
            for text, kind in zip(texts, kinds, strict=True)
        ],
        f"{PREFIX}token_type": kinds,
    }


def _pieces(file: JSON, rows: int, special: Mapping[int, PieceKind]) -> tuple[list[str], list[int]]:
    """Text and kind of every row; `special` are those of the vocabulary that are neither normal nor added."""
    added = {token["id"]: token for token in file.get("added_tokens", [])}
    by_id = {index: text for text, index in file["model"]["vocab"].items()}
    by_id |= {index: token["content"] for index, token in added.items()}
    if (largest := max(by_id, default=0)) >= rows:
        raise _refusal(f"it has the id {largest}, but the model has {rows:,} rows")
    texts, kinds = [by_id.get(index, f"<unused{index}>") for index in range(rows)], [int(PieceKind.UNUSED)] * rows
    for index in by_id:
        plain = PieceKind.NORMAL
        if index in added:
            plain = PieceKind.CONTROL if added[index].get("special") else PieceKind.USER_DEFINED
        kinds[index] = int(special.get(index, plain))
    return texts, kinds


def _first_difference(tokenizer: HuggingFaceTokenizer, metadata: Mapping[str, Any]) -> str | None:
    """The first probe text with other ids after reading the description; None if there is none."""
    read = tokenizer_from_gguf(metadata, "the exported tokenizer")
    for text in probes(tokenizer.special_tokens):
        ours, theirs = tokenizer.observe(text), read.observe(text)
        if any(ours[key] != theirs[key] for key in ("ids", "whole", "literal", "decoded")):
            return text
    return None
