"""Finds the byte range of each token in a text.

Engines report character ranges, and they report the same range for all tokens of one character. If the lengths of the
tokens' bytes add up to the text, they give the exact byte ranges. Otherwise the engine's ranges are refined where
possible.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

import tokenizers

from lazarus_tokenkit.tokenizers.backends.alphabet import piece_to_bytes
from lazarus_tokenkit.tokenizers.protocol import Segments

BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
"""SentencePiece's piece for one byte."""


def segments(
    text: str, ids: list[int], offsets: Sequence[tuple[int, int]], token_bytes: Mapping[int, bytes]
) -> Segments:
    """Returns the tokens of a text with their byte ranges.

    Args:
        text: The text that was encoded.
        ids: The token ids of the text, without added special tokens.
        offsets: Half-open character range of each id, from the engine.
        token_bytes: Bytes of each id.
    """
    # The exact case: the tokens' own bytes cover the text.
    size = len(text) if text.isascii() else len(text.encode())
    ends = list(accumulate(len(token_bytes.get(number, b"")) for number in ids))
    if (ends[-1] if ends else 0) == size:
        return Segments(ids, [0, *ends[:-1]] if ends else [], ends)
    # Byte offset of each character. In ASCII text the offset is the index.
    at = range(len(text) + 1) if text.isascii() else [0, *accumulate(len(letter.encode()) for letter in text)]
    starts: list[int] = []
    ends.clear()
    place = 0
    for (first, last), group in groupby(offsets):
        count = sum(1 for _ in group)
        start, end = at[first], at[last]
        own = [len(token_bytes.get(number, b"")) for number in ids[place : place + count]]
        if count > 1 and 0 <= sum(own) - (end - start) <= 1:
            # Several tokens for one character, possibly after a dummy prefix space: assign bytes from the end backwards.
            bounds = [max(start, end - size) for size in accumulate(reversed(own), initial=0)][::-1]
            starts += bounds[:-1]
            ends += bounds[1:]
        else:
            starts += [start] * count
            ends += [end] * count
        place += count
    return Segments(ids, starts, ends)


def vocabulary_bytes(vocab: Mapping[str, int], engine: tokenizers.Tokenizer) -> dict[int, bytes]:
    """Returns the bytes of each id, by the rules of the engine's decoder.

    Args:
        vocab: Piece to id.
        engine: Its decoder decides how pieces represent bytes.
    """
    steps = _steps(engine)
    added = {number: token.content for number, token in engine.get_added_tokens_decoder().items()}
    is_byte_level, has_bytes = "ByteLevel" in steps, "ByteFallback" in steps
    has_marks = bool(steps & {"Metaspace", "Replace"})
    prefix = "##" if "WordPiece" in steps else ""
    found: dict[int, bytes] = {}
    for piece, number in vocab.items():
        if number in added:
            found[number] = added[number].encode()
        elif is_byte_level:
            found[number] = piece_to_bytes(piece) or piece.encode()
        elif has_bytes and (byte := BYTE_PIECE.fullmatch(piece)):
            found[number] = bytes([int(byte[1], 16)])
        else:
            text = piece.replace("\u2581", " ") if has_marks else piece
            found[number] = (text.removeprefix(prefix) if prefix else text).encode()
    return found


def _steps(engine: tokenizers.Tokenizer) -> set[str]:
    """Returns the types of the decoder's steps."""
    decoder = engine.decoder
    if decoder is None:
        return set()
    members: dict[str, Any] = json.loads(decoder.__getstate__())
    parts = members.get("decoders", [members])
    return {step["type"] for step in parts}
