import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan.format import merkle_root
from lazarus_plan.format.merkle import EMPTY_ROOT, leaf_hash, node_hash


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(recursive_root(leaves[:half]), recursive_root(leaves[half:]))


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_the_root_is_that_of_rfc_6962(leaves: list[bytes]):
    assert merkle_root(leaves) == recursive_root(leaves)


def test_the_published_vectors_hold():
    # The eight leaves of the tests of certificate-transparency.
    leaves = [bytes.fromhex(leaf) for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
    leaves.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
    assert merkle_root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert merkle_root([]) == EMPTY_ROOT


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_two_leaves_swapped_give_another_root(size: int):
    leaves = [bytes([place]) for place in range(size + 1)]
    swapped = [*leaves[:-2], leaves[-1], leaves[-2]]
    assert merkle_root(leaves) != merkle_root(swapped)
