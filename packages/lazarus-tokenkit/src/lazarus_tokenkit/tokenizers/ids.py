"""Arrays of token ids with four bytes an id: the output of engines and the input of digests."""

import hashlib
import sys
from array import array
from collections.abc import Iterable
from typing import TypeAlias

Ids: TypeAlias = "array[int]"
"""Unsigned 32-bit integers in the machine's byte order."""


def id_array(ids: Iterable[int]) -> Ids:
    """Returns ids as a u32 array.

    >>> id_array([464, 2068])
    array('I', [464, 2068])
    """
    return array("I", ids)


def ids_in(words: bytes) -> Ids:
    """Returns the ids in a buffer of u32 in the machine's byte order.

    >>> ids_in(id_array([464, 2068]).tobytes())
    array('I', [464, 2068])
    """
    ids = array("I")
    ids.frombytes(words)
    return ids


def ids_prefix(ids: Iterable[int]) -> str:
    """Returns the first 8 hexadecimal digits of SHA-256 over the ids as u32 little-endian.

    >>> ids_prefix([1, 2])
    '34fb5c82'
    """
    return hashlib.sha256(little_endian(ids if isinstance(ids, array) else id_array(ids))).hexdigest()[:8]


def little_endian(ids: Ids) -> Ids:
    """Returns ids whose bytes are u32 little-endian on every machine, as digests are defined over them."""
    if sys.byteorder == "big":
        ids = ids[:]
        ids.byteswap()
    return ids
