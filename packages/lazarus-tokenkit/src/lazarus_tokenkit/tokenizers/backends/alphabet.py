"""GPT-2's mapping of bytes to printable characters (`bytes_to_unicode` in openai/gpt-2, src/encoder.py)."""

from collections.abc import Mapping
from functools import cache


@cache
def byte_alphabet() -> Mapping[str, int]:
    """Returns printable character to byte, ordered by byte.

    >>> byte_alphabet()["A"], byte_alphabet()["\u0120"]
    (65, 32)
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    # Bytes that are not printable in Latin-1 get the code points from 0x100 on, in order.
    replacements = iter(range(0x100, 0x200))
    return {chr(byte if byte in printable else next(replacements)): byte for byte in range(256)}


@cache
def byte_characters() -> tuple[str, ...]:
    """Returns the printable character of each byte, indexed by byte."""
    return tuple(byte_alphabet())


def bytes_to_piece(content: bytes) -> str:
    r"""Writes bytes as printable characters.

    >>> bytes_to_piece(b" a\n")
    'ĠaĊ'
    """
    letters = byte_characters()
    return "".join([letters[byte] for byte in content])


def piece_to_bytes(piece: str) -> bytes | None:
    """Returns the bytes of a piece, or None if a character is not in the alphabet."""
    alphabet = byte_alphabet()
    try:
        return bytes([alphabet[letter] for letter in piece])
    except KeyError:
        return None
