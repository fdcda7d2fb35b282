"""Compare the padding of each batching mode on given lengths, and recommend one.

*Padding* is the part of rows without tokens. Each candidate costs one packing of the histogram: milliseconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.config import Mode, PlanConfig
from lazarus_plan.packing.best_fit import histogram
from lazarus_plan.packing.items import ROW_LEN_MULTIPLE
from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.packing.rows import pack
from lazarus_plan.plan import Integers

NUM_BUCKETS = 4
"""Number of edges in mode bucketed: quantiles of the lengths, rounded up to multiples of 64."""


@dataclass(frozen=True)
class Candidate:
    """One way of batching.

    Args:
        mode: Mode of the configuration.
        row_len: Tokens of the longest row.
        token_budget: Tokens per step, a multiple of the row length.
        bucket_edges: Row lengths, for mode bucketed.
        tokens: Number of tokens without padding.
        padding: Number of padding tokens.
        cost: Attention cost: sum of squared segment lengths (packed) or row lengths (other modes).
    """

    mode: Mode
    row_len: int
    token_budget: int
    bucket_edges: tuple[int, ...]
    tokens: int
    padding: int
    cost: int

    @property
    def config(self) -> PlanConfig:
        """Configuration of this candidate."""
        return PlanConfig(
            token_budget=self.token_budget, row_len=self.row_len, mode=self.mode, bucket_edges=self.bucket_edges
        )


def candidates(length: Integers, token_budget: int) -> list[Candidate]:
    """All candidates, sorted by padding and then by row length.

    Args:
        length: Tokens of each sample, (N,); empty samples are left out.
        token_budget: Maximum tokens per step.
    """
    length = length[length > 0].astype(np.int64)
    shortest = -(-int(length.max()) // ROW_LEN_MULTIPLE) * ROW_LEN_MULTIPLE
    shortest = shortest if shortest <= token_budget else int(length.max())
    found = [
        *_packed(length, shortest, token_budget),
        _padded(length, token_budget),
        _bucketed(length, shortest, token_budget),
    ]
    return sorted(found, key=lambda each: (each.padding, each.row_len))


def reason(best: Candidate, others: Sequence[Candidate]) -> str:
    """Why a candidate is the best, in one sentence: its padding, and that of the best candidate of another mode.

    Args:
        best: The recommended candidate.
        others: The other candidates, the best one first. The first of another mode is compared.
    """
    share = 100 * best.padding / (best.tokens + best.padding)
    second = next((each for each in others if each.mode != best.mode), best)
    what = {
        "packed": "samples share rows, so only room that fits no sample is padding",
        "padded": "samples of similar length share a step",
        "bucketed": "the edges are close to the lengths",
    }[best.mode]
    rival = 100 * second.padding / (second.tokens + second.padding)
    return f"{share:.2f} % padding: {what}; the best of mode {second.mode} has {rival:.2f} %"


def _packed(length: NDArray[np.int64], shortest: int, token_budget: int) -> Iterator[Candidate]:
    counts = tuple(histogram(length).items())
    tokens, cost = int(length.sum()), int((length * length).sum())
    row_len = shortest
    while row_len <= min(token_budget, max(shortest, 2 * tokens)):  # a longer row would have all samples in one
        rows = sum(pattern.rows for pattern in pack(counts, row_len))
        budget = token_budget // row_len * row_len
        yield Candidate("packed", row_len, budget, (), tokens, rows * row_len - tokens, cost)
        row_len *= 2


def _padded(length: NDArray[np.int64], token_budget: int) -> Candidate:
    from lazarus_plan.packing.padded import PADDED_WINDOW

    keyed = length[keyed_permutation(len(length), shuffle_key("rows-0", 0, 0, 0))]
    room = cost = 0
    for begin in range(0, len(keyed), PADDED_WINDOW):
        window = np.sort(keyed[begin : begin + PADDED_WINDOW])[::-1]
        at = 0
        while at < len(window):
            rows = min(token_budget // int(window[at]), len(window) - at)
            room += rows * int(window[at])
            cost += rows * int(window[at]) ** 2
            at += rows
    longest = int(length.max())
    return Candidate("padded", longest, token_budget, (), int(length.sum()), room - int(length.sum()), cost)


def _bucketed(length: NDArray[np.int64], shortest: int, token_budget: int) -> Candidate:
    ordered = np.sort(length)
    ranks = [len(ordered) * part // NUM_BUCKETS for part in range(1, NUM_BUCKETS)]
    rounded = {min(shortest, -(-int(ordered[rank]) // ROW_LEN_MULTIPLE) * ROW_LEN_MULTIPLE) for rank in ranks}
    return bucketed(length, tuple(sorted(rounded | {shortest})), token_budget)


def bucketed(length: Integers, bucket_edges: tuple[int, ...], token_budget: int) -> Candidate:
    """Mode bucketed with given edges.

    Args:
        length: Tokens of each sample, (N,); empty samples are left out.
        bucket_edges: Row lengths, ascending; the last holds the longest sample.
        token_budget: Maximum tokens per step.
    """
    length = length[length > 0].astype(np.int64)
    row = np.array(bucket_edges)[np.searchsorted(bucket_edges, length)]
    tokens = int(length.sum())
    return Candidate(
        "bucketed",
        bucket_edges[-1],
        token_budget,
        bucket_edges,
        tokens,
        int(row.sum()) - tokens,
        int((row * row).sum()),
    )
