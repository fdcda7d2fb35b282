import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key

MASK = 2**64 - 1


def plain_permutation(size: int, key: int) -> list[int]:
    """The same, as anyone would write it in another language."""

    def splitmix64(state: int) -> int:
        mixed = (state + 0x9E3779B97F4A7C15) & MASK
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & MASK
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & MASK
        return mixed ^ mixed >> 31

    low = max(size - 1, 0).bit_length()
    tagged = sorted(splitmix64(key + index & MASK) >> low << low | index for index in range(size))
    return [value & (1 << low) - 1 for value in tagged]


@given(st.integers(0, 200), st.integers(0, MASK))
def test_the_permutation_is_the_plain_one(size: int, key: int):
    assert keyed_permutation(size, key).tolist() == plain_permutation(size, key)


@given(st.integers(0, 500), st.integers(0, MASK))
def test_every_index_stands_once(size: int, key: int):
    assert sorted(keyed_permutation(size, key).tolist()) == list(range(size))


@given(st.integers(0, 2**53 - 2), st.integers(0, 50))
def test_seed_plus_epoch_is_not_the_key(seed: int, epoch: int):
    assert shuffle_key("shuffle", seed, 0, epoch + 1) != shuffle_key("shuffle", seed + 1, 0, epoch)


def test_stored_plans_rest_on_these_keys():
    # Changing this breaks stored plans: raise the format version.
    assert shuffle_key("shuffle", 42, 0, 1) == 16493125137122797548
    assert keyed_permutation(10, 42).tolist() == [6, 7, 9, 5, 1, 4, 8, 0, 3, 2]


def test_places_are_uniform():
    first = [int(keyed_permutation(8, shuffle_key("shuffle", seed, 0, 0))[0]) for seed in range(4000)]
    counts = np.bincount(first, minlength=8)
    assert counts.min() > 400 and counts.max() < 600  # 500 each, sd 21
