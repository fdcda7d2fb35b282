"""Merkle trees of RFC 6962: one root for many leaves, in one pass and logarithmic memory."""

import hashlib
from collections.abc import Iterable, Sequence

DIGEST_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of a tree without leaves (RFC 6962 section 2.1)."""


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf)."""
    # Different first bytes for leaves and nodes: no node can be passed off as a leaf (second preimage).
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node (RFC 6962): SHA-256(0x01 || left || right).

    Args:
        left: Hash of the left subtree, 32 bytes.
        right: Hash of the right subtree, 32 bytes.
    """
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """The RFC 6962 tree hash of `leaves`, in order.

    >>> merkle_root([b"a", b"b"]) == node_hash(leaf_hash(b"a"), leaf_hash(b"b"))
    True
    """
    return root_of_leaves(map(leaf_hash, leaves))


def root_of_leaves(hashes: Iterable[bytes]) -> bytes:
    """`merkle_root` for leaves that are already hashed.

    >>> root_of_leaves([leaf_hash(b"a"), leaf_hash(b"b")]) == merkle_root([b"a", b"b"])
    True
    """
    # Roots of the complete subtrees so far, widest first: the binary digits of the number of leaves.
    complete: list[bytes] = []
    for size, node in enumerate(hashes):
        # Like a carry in binary addition: each trailing 1 bit is a complete subtree of the same size to merge with.
        while size & 1:
            node = node_hash(complete.pop(), node)
            size >>= 1
        complete.append(node)
    if not complete:
        return EMPTY_ROOT
    # Incomplete right edge: merge from the narrowest subtree to the widest.
    root = complete.pop()
    while complete:
        root = node_hash(complete.pop(), root)
    return root


def merkle_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The nodes that prove one leaf, from the leaf up (RFC 6962 section 2.1.1): 32 bytes per level.

    Args:
        leaves: Leaf hashes.
        index: 0-based position of the leaf.
    """
    if len(leaves) <= 1:
        return []
    # Largest power of two below the number of leaves: the left subtree is complete (RFC 6962).
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*merkle_path(leaves[:half], index), _root(leaves[half:])]
    return [*merkle_path(leaves[half:], index - half), _root(leaves[:half])]


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that follows from a path, or None if the length of the path does not match the tree.

    >>> leaves = [leaf_hash(bytes([n])) for n in range(5)]
    >>> root_of_path(leaves[2], 2, 5, merkle_path(leaves, 2)) == merkle_root(bytes([n]) for n in range(5))
    True

    Args:
        leaf: Hash of the leaf.
        index: 0-based position of the leaf.
        size: Number of leaves.
        path: From `merkle_path`.
    """
    if size == 1:
        return None if path else leaf
    if not path:
        return None
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        # The last node of the path is the sibling at the top level.
        left = root_of_path(leaf, index, half, path[:-1])
        return None if left is None else node_hash(left, path[-1])
    right = root_of_path(leaf, index - half, size - half, path[:-1])
    return None if right is None else node_hash(path[-1], right)


def _root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(_root(leaves[:half]), _root(leaves[half:]))
