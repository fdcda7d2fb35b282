from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazarus_plan.checks import multiplicity
from lazarus_plan.checks.multiplicity import _count  # pyright: ignore[reportPrivateUsage] # against the plain way
from lazarus_plan.plan import WHOLE

Piece = tuple[int, int, int]  # sample, first token (WHOLE where all of it stands), tokens


def count(pieces: list[Piece], samples: int) -> tuple[list[int], set[str]]:
    sample, first, length = np.array(pieces, dtype=np.int32).reshape(-1, 3).T
    times, problems = _count(sample, first, length, samples)
    return times.tolist(), {code for code, _ in problems}


def plain(pieces: list[Piece], samples: int) -> tuple[list[int], set[str]]:
    times, codes = [0] * samples, set[str]()
    for sample in range(samples):
        whole = sum((each, first) == (sample, WHOLE) for each, first, _ in pieces)
        cut = Counter((first, first + length) for each, first, length in pieces if each == sample and first != WHOLE)
        due = 0
        for first, last in sorted(cut):
            codes |= {"LP-E123"} if first != due else set()
            due = last
        codes |= {"LP-E123"} if len(set(cut.values())) > 1 else set()
        codes |= {"LP-E120"} if whole and cut else set()
        times[sample] = next(iter(cut.values()), whole)
    return times, codes


def cut(sample: int, sizes: list[int]) -> list[Piece]:
    return [(sample, sum(sizes[:place]), size) for place, size in enumerate(sizes)]


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=4)
sound = st.lists(st.tuples(sizes, st.integers(1, 3)), max_size=6).map(
    lambda samples: [piece for n, (sizes, copies) in enumerate(samples) for piece in cut(n, sizes) * copies]
)
damaged = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([WHOLE, 0, 0, 2, 4, 6]), st.sampled_from([2, 2, 3])))


@pytest.fixture(params=[62, 0], ids=["as one integer", "as three"])
def sorted_bits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiplicity, "SORTED_BITS", request.param)
    monkeypatch.setattr(multiplicity, "PORTION", 3)


@pytest.mark.usefixtures("sorted_bits")
@given(sound, st.randoms())
def test_pieces_in_any_order_make_up_their_samples(pieces: list[Piece], random: Random):
    random.shuffle(pieces)
    assert count(pieces, 6) == plain(pieces, 6) and not count(pieces, 6)[1]


@pytest.mark.usefixtures("sorted_bits")
@given(damaged)
def test_the_fast_count_finds_what_the_plain_one_finds(pieces: list[Piece]):
    found, expected = count(pieces, 6), plain(pieces, 6)
    assert found[1] == expected[1] and (found[1] or found[0] == expected[0])


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([(0, 0, 4), (0, 5, 4)], "LP-E123"),
        ([(0, 1, 4)], "LP-E123"),
        ([(0, 0, 4), (0, 3, 4)], "LP-E123"),
        ([(0, 0, 4), (0, 4, 4), (0, 4, 4)], "LP-E123"),
        ([(0, WHOLE, 4), (0, 0, 4)], "LP-E120"),
    ],
)
def test_pieces_that_do_not_make_up_a_sample_are_found(pieces: list[Piece], code: str):
    assert count(pieces, 1)[1] == {code}


@pytest.mark.parametrize("first", [WHOLE, 0])
def test_more_copies_than_two_bytes_count(first: int):
    copies = 2**16 + 1  # of which two bytes leave one
    assert count([(0, first, 2)] * copies + [(1, WHOLE, 2)], 2) == ([copies, 1], set())
