"""Check that every sample occurs as often as it should: once per epoch, or as often as the recorded passes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.findings import Finding, at_step
from lazarus_plan.numbering import Numbering
from lazarus_plan.packing.sorting import order_by
from lazarus_plan.plan import WHOLE, BatchPlan, Epoch, Integers

SORTED_BITS = 62
"""Sample, first token and length of a piece are sorted as one integer if they fit, which they do up to 10^8 samples."""
PORTION = 1 << 16
"""Pieces per block, so that they stay in the processor's cache."""
SORTED = 1 << 21
"""Pieces sorted together: of 14 million, 16 MB instead of 112."""


def check_multiplicity(plan: BatchPlan) -> Iterator[Finding]:
    """Find samples that are out of range, repeated, missing, or cut with a gap."""
    count = sum(source.count for source in plan.metadata.sources)
    if int(plan.sample.max(initial=0)) >= count:
        for place in np.flatnonzero(plan.sample >= count).tolist():
            step = int(np.searchsorted(plan.step_splits, place, side="right")) - 1
            yield at_step("LP-E122", step, f"sample {plan.sample[place]} is outside the {count} samples of the sources")
        return
    for epoch in plan.metadata.epochs:
        begin, end = plan.step_splits[epoch.first_step], plan.step_splits[epoch.first_step + epoch.steps]
        place = slice(int(begin), int(end))
        times, problems = _count(plan.sample[place], plan.span_start[place], plan.length[place], count)
        yield from (Finding(code, f"epoch {epoch.epoch}: {text}") for code, text in problems)
        if not problems:
            yield from (Finding(code, f"epoch {epoch.epoch}: {text}") for code, text in _compare(plan, epoch, times))


def _count(
    sample: Integers, span_start: Integers, length: Integers, count: int
) -> tuple[Integers, list[tuple[str, str]]]:
    """Number of occurrences of each sample, (count,). All pieces of a cut sample must occur equally often."""
    times, num_cut = _count_whole(sample, span_start, count)
    problems: list[tuple[str, str]] = []
    if num_cut:
        for pieces in _by_sample(sample, span_start, length, num_cut):
            cut, copies, wrong = _count_cut(*pieces)
            wrong += [("LP-E120", f"sample {each} occurs whole and in pieces") for each in cut[times[cut] > 0].tolist()]
            if int(copies.max()) > np.iinfo(times.dtype).max:
                times = times.astype(np.int32)
            times[cut] = copies
            problems += wrong
    return times, problems


def _count_whole(sample: Integers, span_start: Integers, count: int) -> tuple[Integers, int]:
    """Number of whole occurrences of each sample, (count,), in 2 bytes each if possible; number of cut pieces."""
    for narrowest in (np.int16, np.int32):
        # 2-byte counters first. If one wraps, the sum differs, and the count is repeated with 4 bytes.
        times, num_whole = np.zeros(count, dtype=narrowest), 0
        for begin in range(0, len(sample), PORTION):
            part = slice(begin, begin + PORTION)
            whole = sample[part][span_start[part] == WHOLE]
            np.add.at(times, whole, narrowest(1))  # of the same type, which is 18 times as fast
            num_whole += len(whole)
        if int(times.sum(dtype=np.int64)) == num_whole:  # no count ran over
            break
    return times, len(sample) - num_whole


def _by_sample(
    sample: Integers, first: Integers, length: Integers, num_cut: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Sample, first token and length of the cut pieces, sorted by them; all pieces of a sample in one portion."""
    largest = int(sample.max())
    room = [each.bit_length() for each in (largest, int(first.max()), int(length.max()))]
    if sum(room) > SORTED_BITS:
        is_cut = first != WHOLE
        pieces = [column[is_cut].astype(np.int64) for column in (sample, first, length)]
        order = order_by(*pieces)
        yield pieces[0][order], pieces[1][order], pieces[2][order]
        return
    # The three as one integer: sorting values takes a fifth of the time and memory of sorting places. So many at a time.
    low = room[1] + room[2]
    # Ranges of sample numbers with about SORTED pieces each.
    width = -(-(largest + 1) // -(-num_cut // SORTED))
    keys = np.empty(num_cut, dtype=np.int64)  # of which only what is written takes memory
    for least in range(0, largest + 1, width):
        size = 0
        for begin in range(0, len(sample), PORTION):
            part = slice(begin, begin + PORTION)
            of = sample[part]
            chosen = np.flatnonzero((first[part] != WHOLE) & (of >= least) & (of < least + width))
            key = keys[size : (size := size + len(chosen))]
            # sample, first token, length, most significant first: integer order is their lexicographic order.
            key[:] = of[chosen]
            key <<= room[1]
            key |= first[part][chosen]
            key <<= room[2]
            key |= length[part][chosen]
        key = keys[:size]
        key.sort()
        begin = 0
        while begin < len(key):
            # Extend the portion to the end of its last sample, so that no sample is divided.
            last = int(key[min(begin + PORTION, len(key)) - 1]) >> low
            part = key[begin : int(np.searchsorted(key, (last + 1) << low))]
            # Unpack with shifts and masks, in the order in which the columns were packed.
            yield part >> low, part >> room[2] & (1 << room[1]) - 1, part & (1 << room[2]) - 1
            begin += len(part)


def _count_cut(
    sample: NDArray[np.int64], first: NDArray[np.int64], length: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[tuple[str, str]]]:
    """Count cut samples from all their sorted pieces: the samples, their number of copies, the problems."""
    # Equal neighbours are copies of one piece; the distance between changes is their number.
    is_new = np.ones(len(sample), dtype=np.bool_)
    is_new[1:] = (sample[1:] != sample[:-1]) | (first[1:] != first[:-1]) | (length[1:] != length[:-1])
    piece = np.flatnonzero(is_new)
    copies = np.diff(np.append(piece, len(sample)))
    cut, first = sample[piece], first[piece]
    last = first + length[piece]
    # A piece starts where the previous piece of its sample ends; the first piece starts at 0.
    follows = np.concatenate([[False], cut[1:] == cut[:-1]])
    due = np.where(follows, np.concatenate([[0], last[:-1]]), 0)
    wrong = [("LP-E123", f"the pieces of sample {each} leave a gap or overlap") for each in cut[first != due].tolist()]
    begins = np.flatnonzero(~follows)
    # Every piece of a sample needs as many copies as its most frequent one.
    most = np.maximum.reduceat(copies, begins)
    uneven = copies != np.repeat(most, np.diff(np.append(begins, len(cut))))
    wrong += [("LP-E123", f"the pieces of sample {each} occur unequally often") for each in cut[uneven].tolist()]
    return cut[begins], copies[begins], wrong


def _compare(plan: BatchPlan, epoch: Epoch, times: Integers) -> Iterator[tuple[str, str]]:
    """Compare the counts with the recorded passes and exclusions."""
    left_out = plan.metadata.excluded.oversize + plan.metadata.excluded.zero_length
    if epoch.absent is not None:
        left_out = epoch.absent
    missing = optional = 0
    example = None
    numbering, every = Numbering.of_plan(plan.metadata), range(len(times))
    for position in range(numbering.num_sources):
        numbers = numbering.of(position)
        mine = times[numbers]
        number_of = every[numbers] if isinstance(numbers, slice) else numbers
        passes = [stage.passes[stage.sources.index(position)] for stage in epoch.stages if position in stage.sources]
        least = sum(whole for whole, _ in passes)
        # A partial pass may give one further copy of any of its samples.
        most = least + sum(rest > 0 for _, rest in passes)
        for each in np.flatnonzero(mine > most).tolist():
            yield "LP-E120", f"sample {number_of[each]} occurs {_times(int(mine[each]))}, not {_times(most)}"
        for each in np.flatnonzero((mine > 0) & (mine < least)).tolist():
            yield "LP-E121", f"sample {number_of[each]} occurs {_times(int(mine[each]))}, not {_times(least)}"
        absent = np.flatnonzero(mine == 0)
        if least:
            # Samples of a source without a whole pass may be absent; others must be recorded as excluded.
            missing += len(absent)
            if example is None and len(absent):
                example = int(number_of[int(absent[0])])
        else:
            optional += len(absent)
    if missing > left_out:
        more = missing - left_out
        yield "LP-E121", f"{more} samples are missing and not recorded as excluded, such as sample {example}"
    elif missing + optional < left_out:
        yield "LP-E123", f"{left_out} samples are recorded as excluded, {missing + optional} are"


def _times(number: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(number, f"{number} times")
