"""Items to place: samples, or pieces of samples that the oversize policy cuts. Every exclusion is recorded."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lazarus_core.printable import utf8_name
from lazarus_plan.config import PlanConfig
from lazarus_plan.errors import PlanningError
from lazarus_plan.lengths.cache import ABSENT, LengthCache
from lazarus_plan.plan import WHOLE, Excluded, Integers, StagePart, length_type, narrow, narrow_lengths, narrow_type

ROW_LEN_MULTIPLE = 64
"""Row lengths chosen automatically are multiples of this: fast on every GPU, with few distinct shapes."""


BLOCK = 1 << 16
"""Items per block, so that intermediate arrays stay in the processor's cache."""


@dataclass(frozen=True)
class Items:
    """Items to place, in the order of the length caches: samples or, if the policy splits, consecutive pieces of them.

    Sample ids are computed on demand: at 10 M samples an extra column costs 80 MB.

    Args:
        length: Tokens of each item, (M,).
        splits: Source i has the items splits[i]..splits[i + 1], (sources + 1,).
        given: Tokens of every sample before the policies, (N,).
        config: Resolved configuration.
        content: Hash of every sample's content, (N,); only for modes that order samples by it.
    """

    length: Integers
    splits: NDArray[np.int64]
    given: Integers
    config: PlanConfig
    content: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.length)

    def of(self, source: int) -> slice:
        """The items of one source."""
        return slice(int(self.splits[source]), int(self.splits[source + 1]))

    def samples(self, item: Integers) -> Integers:
        """Sample numbers of some items."""
        if self._is_plain:
            return narrow(item, len(self.given))
        # Each sample number is repeated once per piece, then looked up by item.
        every = np.arange(len(self.given), dtype=narrow_type(len(self.given)))
        return np.repeat(every, _pieces(self.given, self.config))[item]

    def span_starts(self, item: Integers) -> Integers:
        """First token, within its sample, of some items; WHOLE for an item that is a whole sample."""
        row_len = self.config.resolved_row_len
        if self.config.oversize in ("error", "exclude") or int(self.given.max()) <= row_len:
            return np.broadcast_to(np.int32(WHOLE), len(item))  # in no memory
        piece = self._piece_numbers()
        span_start = np.empty(len(item), dtype=narrow_type(int(self.given.max())))
        for begin in range(0, len(item), BLOCK):
            number = piece[item[begin : begin + BLOCK]].astype(np.int64)
            span_start[begin : begin + BLOCK] = np.where(number == WHOLE, WHOLE, number * row_len)
        return span_start

    def _piece_numbers(self) -> Integers:
        """Piece number of each item within its sample; WHOLE for a whole sample."""
        row_len = self.config.resolved_row_len
        numbers = np.empty(len(self), dtype=length_type(int(self.given.max()) // row_len + 1))
        end = 0
        for begin in range(0, len(self.given), BLOCK):
            given = self.given[begin : begin + BLOCK]
            pieces = _pieces(given, self.config)
            ends = np.cumsum(pieces, dtype=np.int64)
            # Index in the block minus the index of the sample's first piece: 0, 1, .. within each sample.
            number = np.arange(int(ends[-1])) - np.repeat(ends - pieces, pieces)
            # A sample that fits into a row is one whole item.
            number[np.repeat(given <= row_len, pieces)] = WHOLE
            numbers[end : end + len(number)] = number
            end += len(number)
        return numbers

    @property
    def _is_plain(self) -> bool:
        """Whether every sample is one item."""
        return len(self.given) == len(self) and self.config.oversize != "split"


@dataclass(frozen=True)
class Placed:
    """Placed items, step by step.

    Args:
        item: Position in Items, (M,).
        length: Tokens, (M,).
        start: First token in the step's flat buffer, (M,).
        step_splits: Step i places item[step_splits[i]:step_splits[i + 1]], (S + 1,).
        row_lens: Tokens per row of each step, (S,).
        stages: Steps and sources of each stage.
    """

    item: Integers
    length: Integers
    start: Integers
    step_splits: NDArray[np.int64]
    row_lens: NDArray[np.int64]
    stages: tuple[StagePart, ...]


def check_one_tokenizer(caches: Sequence[LengthCache]) -> None:
    """Refuses sources that different tokenizers measured: no model can train on all of them.

    Args:
        caches: Length caches. Those that name no tokenizer are not compared.

    Raises:
        PlanningError: Two caches name different tokenizers.
    """
    named = [cache for cache in caches if cache.header.tokenizer != ABSENT]
    for cache in named[1:]:
        first, other = named[0].header.tokenizer, cache.header.tokenizer
        if first != other:
            raise PlanningError(
                f"{utf8_name(named[0].name)} and {utf8_name(cache.name)} were measured with different tokenizers "
                f"({first[:19]}, {other[:19]}), and a model has one: build the lengths again with one tokenizer",
                "LP-E135",
            )


def resolve(caches: Sequence[LengthCache], config: PlanConfig) -> PlanConfig:
    """Resolve `row_len` of a configuration: the given value, the last bucket edge, or the length of the longest sample.

    Args:
        caches: Length caches of the sources.
        config: Requested configuration.

    Raises:
        PlanningError: The longest sample exceeds the budget, and `oversize` is "error"; or two caches name different
            tokenizers.
    """
    check_one_tokenizer(caches)
    if config.row_len is None and config.mode == "stable":
        raise PlanningError(
            "`mode` stable needs `row_len`: one that is chosen changes with the longest sample", "LP-E131"
        )
    if config.row_len is None:
        row_len = config.bucket_edges[-1] if config.bucket_edges else _fitting_row_len(caches, config)
        config = config.model_copy(update={"row_len": row_len})
    if config.resolved_row_len > config.token_budget:
        raise PlanningError(f"rows of {config.row_len} tokens do not fit a step of {config.token_budget}", "LP-E131")
    return config


def _fitting_row_len(caches: Sequence[LengthCache], config: PlanConfig) -> int:
    """The smallest multiple of 64 that fits the longest sample, or the budget if a policy cuts longer samples."""
    longest = max(int(cache.length.max(initial=0)) for cache in caches)
    # The least common multiple satisfies both the 64 tokens and `align`.
    multiple = int(np.lcm(ROW_LEN_MULTIPLE, config.align))
    # -(-a // b) is the quotient rounded up, in integers.
    fitting = -(-max(longest, 1) // multiple) * multiple
    if fitting <= config.token_budget:
        return fitting
    # Rounded down: the longest aligned row that fits a step.
    largest = config.token_budget // config.align * config.align
    if longest <= largest or config.oversize != "error":
        return largest
    raise PlanningError(
        f"the longest sample has {longest} tokens and a step only {config.token_budget}: raise `token_budget`, or "
        "choose `oversize` exclude, truncate or split",
        "LP-E131",
    )


def apply_policies(caches: Sequence[LengthCache], config: PlanConfig) -> tuple[Items, Excluded]:
    """Exclude, cut or refuse samples that do not fit into a row.

    Args:
        caches: Length caches of the sources.
        config: Resolved configuration.

    Raises:
        PlanningError: A sample is oversize or empty and the policy is "error", or no sample is left.
    """
    lengths: list[Integers] = []
    oversize = empty = 0
    for cache in caches:
        is_empty, is_oversize = cache.length == 0, cache.length > config.resolved_row_len
        _refuse(cache, is_empty, is_oversize, config)
        lengths.append(_cut(cache.length, config))
        if not len(lengths[-1]):
            raise PlanningError(f"no sample of {cache.name} is left to plan: all {len(cache)} are excluded", "LP-E131")
        empty += int(is_empty.sum())
        oversize += int(is_oversize.sum()) if config.oversize == "exclude" else 0
    items = Items(
        length=_joined(lengths),
        splits=np.concatenate([[0], np.cumsum([len(each) for each in lengths])]).astype(np.int64),
        given=_joined([cache.length for cache in caches]),
        config=config,
        content=np.concatenate([_content(cache) for cache in caches]) if config.mode == "stable" else None,
    )
    return items, Excluded(oversize=oversize, zero_length=empty)


def _content(cache: LengthCache) -> NDArray[np.uint64]:
    """A 64-bit hash of each sample: of its row and token digests, or of its id if the cache has no digests."""
    if cache.prefixes is not None:
        # Two 32-bit prefixes make one 64-bit hash: the row's in the high half, the tokens' in the low half.
        row, token = cache.prefixes.astype(np.uint64).T
        return (row << np.uint64(32)) | token
    return np.array(
        [int.from_bytes(hashlib.sha256(each.encode()).digest()[:8], "little") for each in cache.ids], dtype=np.uint64
    )


def _refuse(
    cache: LengthCache, is_empty: NDArray[np.bool_], is_oversize: NDArray[np.bool_], config: PlanConfig
) -> None:
    """Refuse samples that are oversize or empty under the policy "error"."""
    if config.zero_length == "error" and is_empty.any():
        raise PlanningError(
            f"{_first(cache, is_empty)} has no tokens, and the policy for empty samples is `error`: correct the data, or choose "
            "`zero_length` exclude",
            "LP-E132",
        )
    if config.oversize == "error" and is_oversize.any():
        oversize = int(is_oversize.sum())
        more = f" (and {oversize - 1} more)" if oversize > 1 else ""
        raise PlanningError(
            f"{_first(cache, is_oversize)}{more} is longer than a row of {config.row_len}, and the oversize policy is "
            f"`error`: raise `row_len` (longest sample: {int(cache.length.max())}), or choose "
            "`oversize` exclude, truncate or split",
            "LP-E131",
        )


def _pieces(given: Integers, config: PlanConfig) -> Integers:
    """Number of items of each sample."""
    row_len = config.resolved_row_len
    if config.oversize == "split":
        # Quotient rounded up, in place.
        pieces = given + (row_len - 1)
        pieces //= row_len
        return pieces
    return ((given > 0) & ((given <= row_len) | (config.oversize != "exclude"))).astype(given.dtype)


def _cut(given: Integers, config: PlanConfig) -> Integers:
    """Lengths of the items. All pieces of a cut sample except the last have `row_len` tokens."""
    row_len = config.resolved_row_len
    pieces = _pieces(given, config)
    if config.oversize != "split":
        # Samples with an item; a longer one is truncated to a row.
        return narrow_lengths(np.minimum(given[pieces > 0], row_len), row_len)
    # Item number of the last piece of each sample. All pieces start as full rows; last pieces are shortened.
    last = np.cumsum(pieces, dtype=np.int64) - 1
    length = np.full(int(last[-1]) + 1, row_len, dtype=length_type(row_len))
    # given - (pieces - 1) * row_len, in the memory of `pieces`.
    pieces -= 1
    pieces *= -row_len
    pieces += given  # tokens of the last piece; row_len for a sample without tokens, which has no piece
    there = (pieces > 0) & (given > 0)
    length[last[there]] = pieces[there]
    return length


def _joined(columns: Sequence[Integers]) -> Integers:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _first(cache: LengthCache, where: NDArray[np.bool_]) -> str:
    position = int(np.argmax(where))
    return f"sample {cache.ids[position]!r} ({cache.name}, sample {position}, {int(cache.length[position])} tokens)"
