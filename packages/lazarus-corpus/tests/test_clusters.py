"""Near duplicates: the components are those of a comparison of every pair, whatever the bands say beyond that."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lazarus_corpus.dedup.clusters import equal_values, near_duplicates
from lazarus_corpus.dedup.minhash import MinHash, jaccard, shingles

sets = st.lists(st.sets(st.integers(0, 9), max_size=8), min_size=1, max_size=9)


def by_hand(found: list[np.ndarray], threshold: float) -> list[int]:
    """The smallest number that is connected with each one."""
    roots = list(range(len(found)))
    for _ in found:
        for one in range(len(found)):
            for other in range(len(found)):
                if len(found[one]) and jaccard(found[one], found[other]) >= threshold:
                    roots[one] = roots[other] = min(roots[one], roots[other])
    return roots


@given(sets, st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.integers(1, 3))
def test_components_are_those_of_all_pairs(found: list[set[int]], threshold: float, bands: int):
    arrays = [np.array(sorted(each), np.uint64) for each in found]
    everywhere = [list(range(len(arrays)))] * bands  # every pair is a candidate
    components = near_duplicates(len(arrays), everywhere, arrays.__getitem__, threshold)
    roots = [components.root(number) for number in range(len(arrays))]
    assert roots == by_hand(arrays, threshold)
    assert list(components.joined()) == [number for number, root in enumerate(roots) if root != number]
    for number in components.joined():  # its witness is a document that it was compared with
        neighbour = int(components.neighbour[number])
        assert neighbour != number and jaccard(arrays[number], arrays[neighbour]) >= threshold
        assert roots[neighbour] == roots[number]


@given(st.lists(st.integers(0, 4), max_size=20))
def test_buckets_are_the_numbers_of_each_value_in_order(values: list[int]):
    numbers = np.arange(7, 7 + len(values), dtype=np.uint64)
    expected = [[7 + at for at, each in enumerate(values) if each == value] for value in sorted(set(values))]
    assert list(equal_values(np.array(values, np.uint64), numbers)) == [each for each in expected if len(each) > 1]


def test_the_share_of_equal_bands_is_that_of_the_formula():
    """Two sets of Jaccard similarity s share a band with probability s**rows (Broder 1997)."""
    generator = np.random.default_rng(0)
    minhash = MinHash(64, 2)
    shared = total = 0
    for _ in range(60):
        common, own = (generator.integers(0, 2**63, size, dtype=np.uint64) for size in (60, 40))
        one, other = np.union1d(common, own[:20]), np.union1d(common, own[20:])
        assert jaccard(one, other) == 0.6
        shared += int((minhash.bands_of(one) == minhash.bands_of(other)).sum())
        total += 64
    assert abs(shared / total - 0.6**2) < 0.03


def test_words_are_shared_whatever_their_case_and_punctuation():
    one, other = shingles("The cat, it sat.", 2), shingles("the CAT it\nsat", 2)
    assert one.tolist() == other.tolist() and len(one) == 3
    assert len(shingles("?! ...", 2)) == 0 and len(shingles("word", 5)) == 1
