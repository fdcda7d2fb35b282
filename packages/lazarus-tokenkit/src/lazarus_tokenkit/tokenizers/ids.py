"""Token ids in four bytes each: as engines give many of them, and as digests see them."""

import hashlib
import sys
from array import array
from collections.abc import Iterable
from typing import TypeAlias

Ids: TypeAlias = "array[int]"
"""Unsigned integers of 32 bits in the machine's order of bytes."""


def id_array(ids: Iterable[int]) -> Ids:
    """Ids in four bytes each.

    >>> id_array([464, 2068])
    array('I', [464, 2068])
    """
    return array("I", ids)


def ids_in(words: bytes) -> Ids:
    """The ids that lie in memory as u32 in the machine's order.

    >>> ids_in(id_array([464, 2068]).tobytes())
    array('I', [464, 2068])
    """
    ids = array("I")
    ids.frombytes(words)
    return ids


def ids_prefix(ids: Iterable[int]) -> str:
    """8 hexadecimal digits of SHA-256 over ids as u32 little-endian.

    >>> ids_prefix([1, 2])
    '34fb5c82'
    """
    words = ids if isinstance(ids, array) else id_array(ids)
    if sys.byteorder == "big":
        words = words[:]
        words.byteswap()
    return hashlib.sha256(words).hexdigest()[:8]
