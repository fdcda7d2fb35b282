"""GPT-2's printable stand-in for every byte (`bytes_to_unicode` in openai/gpt-2, src/encoder.py)."""

from collections.abc import Mapping
from functools import cache


@cache
def byte_alphabet() -> Mapping[str, int]:
    """Stand-in to byte, in the order of the bytes.

    >>> byte_alphabet()["A"], byte_alphabet()["\u0120"]
    (65, 32)
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(0x100, 0x200))
    return {chr(byte if byte in printable else next(stand_ins)): byte for byte in range(256)}


@cache
def stand_ins() -> tuple[str, ...]:
    """Byte to stand-in."""
    return tuple(byte_alphabet())


def spell(content: bytes) -> str:
    r"""Bytes in the alphabet.

    >>> spell(b" a\n")
    'ĠaĊ'
    """
    letters = stand_ins()
    return "".join([letters[byte] for byte in content])


def unspell(piece: str) -> bytes | None:
    """The bytes of a piece, or None if it has a letter that is no stand-in."""
    alphabet = byte_alphabet()
    try:
        return bytes([alphabet[letter] for letter in piece])
    except KeyError:
        return None
