"""Merkle trees of RFC 6962: one root for many leaves, in one pass and logarithmic memory."""

import hashlib
from collections.abc import Iterable

DIGEST_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of no leaves (RFC 6962 section 2.1)."""


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """The RFC 6962 tree hash of `leaves`, in order.

    >>> merkle_root([b"a", b"b"]) == node_hash(leaf_hash(b"a"), leaf_hash(b"b"))
    True
    """
    # Roots of the complete subtrees so far, widest first: the binary digits of the number of leaves.
    complete: list[bytes] = []
    for size, leaf in enumerate(leaves):
        node = leaf_hash(leaf)
        while size & 1:
            node = node_hash(complete.pop(), node)
            size >>= 1
        complete.append(node)
    if not complete:
        return EMPTY_ROOT
    root = complete.pop()
    while complete:
        root = node_hash(complete.pop(), root)
    return root
