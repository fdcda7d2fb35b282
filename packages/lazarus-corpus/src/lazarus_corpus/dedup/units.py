"""Lines or paragraphs that several documents have: only the document with the smallest content digest keeps them."""

import hashlib
from collections.abc import Callable
from typing import Literal

Unit = Literal["line", "paragraph"]
SEPARATORS: dict[Unit, str] = {"line": "\n", "paragraph": "\n\n"}


def unit_hash(unit: str) -> int:
    """64 bits of BLAKE2b of a line or paragraph, without spaces at its ends and without case."""
    given = " ".join(unit.casefold().split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(given, digest_size=8).digest(), "big")


def unit_hashes(text: str, unit: Unit, least: int) -> set[int]:
    """The hashes of the lines or paragraphs of a text.

    Args:
        text: The text.
        unit: What is compared.
        least: Fewest characters of one that is compared.
    """
    return {unit_hash(part) for part in text.split(SEPARATORS[unit]) if len(part.strip()) >= least}


def without_units(text: str, unit: Unit, least: int, is_owned: Callable[[int], bool]) -> tuple[str, int]:
    """A text without the lines or paragraphs of other documents, and the number removed.

    Args:
        text: The text.
        unit: What is compared.
        least: Fewest characters of one that is compared.
        is_owned: Whether this document keeps the one of a hash.
    """
    separator = SEPARATORS[unit]
    parts = text.split(separator)
    kept = [part for part in parts if len(part.strip()) < least or is_owned(unit_hash(part))]
    return separator.join(kept), len(parts) - len(kept)
