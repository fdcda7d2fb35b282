"""The bytes of `plan.jsonl`: one line per step.

`{"step":0,"samples":[12,88],"tokens":256,"packing":[[0,128],[128,256]]}` and LF: these members in this order, ASCII, no
spaces. `"row_len":64` follows if it differs by step (modes padded and bucketed), then `"spans":[[0,128],[0,128]]` if a
sample of the step was split or truncated. Any other form of the same values is refused, so a plan has exactly one file.

A line consists of numbers and fixed text, so lines are written and read a million numbers at a time (`ascii_ints`). The
*outline* of a line has a placeholder for every number. The number of samples determines it, so comparing outlines checks
everything except the numbers. `step_json` describes the problem if they differ.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_core.canonical import MAX_INTEGER
from lazarus_plan.format import ascii_ints as digits
from lazarus_plan.format.step_json import Line, decode_line
from lazarus_plan.plan import WHOLE, BatchPlan, Integers
from lazarus_plan.prefetch import ahead

BLOCK_SAMPLES = 1 << 14
"""Samples encoded per block, so that they and their text stay in the processor's cache."""

_HEAD = b'{"step":'
_SAMPLES, _TOKENS, _PACKING, _RANGE = b',"samples":[', b'],"tokens":', b',"packing":[[', b"],["
_TO_ROW_LEN, _TO_SPANS, _ROW_LEN_TO_SPANS = b']],"row_len":', b']],"spans":[[', b',"spans":[['
_END, _ROW_LEN_END = b"]]}\n" + _HEAD, b"}\n" + _HEAD
_NUMBER = b"#"


class Columns(NamedTuple):
    """Steps as arrays: S steps with N samples in total.

    Args:
        step: Member `step` of each line, (S,).
        tokens: Member `tokens` of each line, (S,).
        row_lens: Member `row_len`, 0 if a line has none, (S,).
        sizes: Number of samples of each step, (S,).
        sample: Sample numbers, (N,).
        start: First token in the step's flat buffer, (N,).
        end: Position after the last token, (N,).
        span_start: First token within the sample; WHOLE in a step without spans, (N,).
        span_end: Position after the last token within the sample; WHOLE in a step without spans, (N,).
    """

    step: NDArray[np.int64]
    tokens: NDArray[np.int64]
    row_lens: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sample: Integers
    start: Integers
    end: Integers
    span_start: Integers
    span_end: Integers


def encode_step(plan: BatchPlan, index: int) -> bytes:
    """The line of one step in `plan.jsonl`, with its line feed.

    Args:
        plan: The plan.
        index: 0-based step of the plan.
    """
    return encode(_columns_of(plan, index, index + 1))


def encode_lines(plan: BatchPlan) -> Iterator[bytes]:
    """The lines of `plan.jsonl`, in blocks of whole lines."""
    return ahead(lambda steps: encode(_columns_of(plan, *steps)), _blocks(plan))


def _blocks(plan: BatchPlan) -> Iterator[tuple[int, int]]:
    """Ranges of steps with about BLOCK_SAMPLES samples."""
    begin = 0
    while begin < len(plan):
        last = int(np.searchsorted(plan.step_splits, int(plan.step_splits[begin]) + BLOCK_SAMPLES))
        end = min(max(last, begin + 1), len(plan))
        yield begin, end
        begin = end


def _columns_of(plan: BatchPlan, begin: int, end: int) -> Columns:
    """Steps begin..end (half-open) of a plan."""
    part = plan.steps(begin, end)
    sizes = np.diff(part.step_splits)
    # A line has spans for all samples or for none: one cut sample is enough.
    is_cut = np.logical_or.reduceat(part.span_start != WHOLE, part.step_splits[:-1])
    is_spelt = np.repeat(is_cut, sizes)
    first = np.maximum(part.span_start, 0)
    return Columns(
        step=np.arange(begin, end, dtype=np.int64),
        tokens=part.tokens,
        row_lens=part.row_lens if not plan.metadata.config.shares_rows else np.zeros_like(part.row_lens),
        sizes=sizes,
        sample=part.sample,
        start=part.start,
        end=part.end,
        span_start=np.where(is_spelt, first, WHOLE),
        span_end=np.where(is_spelt, first + part.length, WHOLE),
    )


def encode(columns: Columns) -> bytes:
    """Lines of steps, with their LF."""
    # A line is a run of numbers: step, n samples, tokens, 2 n range ends, then row_len and 2 n span ends if present.
    # First compute the index of each number in the run of all lines, then place whole columns at once.
    n, first = columns.sizes, np.cumsum(columns.sizes) - columns.sizes
    has_row_len = columns.row_lens > 0
    has_spans = columns.span_start[first] != WHOLE
    count = 2 + 3 * n + has_row_len + 2 * n * has_spans  # numbers of each line
    begin = np.cumsum(count) - count
    values = np.empty(int(count.sum()), dtype=np.int64)
    gaps = np.ones(len(values), dtype=np.int64)  # bytes behind each number: a comma
    following: list[tuple[bytes, NDArray[np.int64]]] = []  # what stands behind others, later ones over earlier ones

    def follow(text: bytes, numbers: NDArray[np.int64]) -> None:
        gaps[numbers] = len(text)
        following.append((text, numbers))

    every = np.arange(len(columns.sample))
    values[begin] = columns.step
    # Sample i of the block moves from index i to its line's second number, plus its place in the line.
    values[every + np.repeat(begin + 1 - first, n)] = columns.sample
    tokens = begin + 1 + n
    values[tokens] = columns.tokens
    # Two numbers per sample; the array is reused in place.
    every *= 2
    ranges = every + np.repeat(tokens + 1 - 2 * first, n)
    values[ranges] = columns.start
    ranges += 1
    values[ranges] = columns.end
    follow(_RANGE, ranges)
    last = tokens + 2 * n  # the end of the last range
    if has_spans.any():
        is_spelt = np.repeat(has_spans, n)
        spans = (every + np.repeat(last + 1 + has_row_len - 2 * first, n))[is_spelt]
        values[spans], values[spans + 1] = columns.span_start[is_spelt], columns.span_end[is_spelt]
        follow(_RANGE, spans + 1)
        follow(_END, (last + has_row_len + 2 * n)[has_spans])
    values[last[has_row_len] + 1] = columns.row_lens[has_row_len]
    follow(_SAMPLES, begin)
    follow(_TOKENS, tokens - 1)
    follow(_PACKING, tokens)
    follow(_TO_ROW_LEN, last[has_row_len])
    follow(_TO_SPANS, last[~has_row_len & has_spans])
    follow(_END, last[~has_row_len & ~has_spans])
    follow(_ROW_LEN_TO_SPANS, last[has_row_len & has_spans] + 1)
    follow(_ROW_LEN_END, last[has_row_len & ~has_spans] + 1)

    # Numbers first, with gaps of the right size; then the fixed text goes into the gaps.
    text, ends = digits.write_all(values, gaps, len(_HEAD))
    text[: len(_HEAD)] = np.frombuffer(_HEAD, dtype=np.uint8)
    # One byte of a literal at a time, for all its occurrences. Later literals overwrite earlier ones,
    # such as the end of a line over `],[`.
    for literal, numbers in following:
        where = ends[numbers]
        for offset, byte in enumerate(literal):
            if byte != ord(",") or literal is not _RANGE:  # most of them, over commas
                text[where + offset] = byte
    # The last line end includes the head of a next line.
    return text[: -len(_HEAD)].tobytes()


def decode(block: bytes, first_line: int) -> Columns:
    """Parse whole lines; only the canonical form is accepted.

    Args:
        block: Lines, each with its LF.
        first_line: 1-based number of the first line, for messages.

    Raises:
        CorruptPlan: The first wrong line.
    """
    columns = _decode_fast(block)
    if columns is not None:
        return columns
    # Unknown trailing members, or damage: line by line, which tells the two apart.
    return _from_lines([decode_line(raw, first_line + at) for at, raw in enumerate(block.splitlines(keepends=True))])


def _decode_fast(block: bytes) -> Columns | None:
    """Read numbers by their position in the line; None if any line is not canonical."""
    text = np.frombuffer(block, dtype=np.uint8)
    values, begins, ends = digits.read(text)
    line_ends = np.flatnonzero(text == ord("\n"))
    # Numbers that start before each LF; differences are the numbers per line.
    upto = np.searchsorted(begins, line_ends)
    begin = np.concatenate([[0], upto[:-1]])
    count = upto - begin
    has_row_len = _count(text, "w", line_ends) > 0  # a letter of no other name
    has_spans = _count(text, '"', line_ends) > 8 + 2 * has_row_len  # four other names
    # Without step, tokens and row_len, 3 numbers per sample are left, or 5 with spans. A remainder means another form.
    ranges = count - 2 - has_row_len
    n = ranges // np.where(has_spans, 5, 3)
    if not len(n) or (n < 1).any() or (n * np.where(has_spans, 5, 3) != ranges).any():
        return None
    width = ends - begins
    # A leading zero is not canonical; values of more than MAX_WIDTH digits are arbitrary.
    is_padded = (width > 1) & (text[begins] == ord("0"))
    if is_padded.any() or int(width.max()) > digits.MAX_WIDTH or int(values.max()) > MAX_INTEGER:
        return None
    if _outline(block, begins) != b"".join(map(_outline_of, n.tolist(), has_row_len.tolist(), has_spans.tolist())):
        return None
    # Indices of the numbers as in `encode`.
    first = np.cumsum(n) - n
    place = np.arange(int(n.sum())) - np.repeat(first, n)
    tokens = begin + 1 + n
    start = np.repeat(tokens + 1, n) + 2 * place
    span_start = np.full(len(place), WHOLE, dtype=np.int64)
    span_end = span_start.copy()
    if has_spans.any():
        is_spelt = np.repeat(has_spans, n)
        spans = (np.repeat(tokens + 2 * n + 1 + has_row_len, n) + 2 * place)[is_spelt]
        span_start[is_spelt], span_end[is_spelt] = values[spans], values[spans + 1]
    row_lens = np.zeros(len(n), dtype=np.int64)
    row_lens[has_row_len] = values[(tokens + 2 * n + 1)[has_row_len]]
    return Columns(
        step=values[begin],
        tokens=values[tokens],
        row_lens=row_lens,
        sizes=n,
        sample=values[np.repeat(begin + 1, n) + place],
        start=values[start],
        end=values[start + 1],
        span_start=span_start,
        span_end=span_end,
    )


def _count(text: NDArray[np.uint8], sign: str, line_ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of occurrences of a byte in each line."""
    # Occurrences before each LF, then differences.
    return np.diff(np.searchsorted(np.flatnonzero(text == ord(sign)), line_ends), prepend=0)


def _outline(block: bytes, begins: NDArray[np.int64]) -> bytes:
    """The text with `_NUMBER` in place of every number; `begins` are the positions of the numbers."""
    text = bytearray(block)
    # Mark the first digit of each number; all other digits are deleted.
    np.frombuffer(text, dtype=np.uint8)[begins] = ord(_NUMBER)
    return bytes(text.translate(None, b"0123456789"))


@lru_cache(maxsize=1024)
def _outline_of(samples: int, has_row_len: bool, has_spans: bool) -> bytes:
    r"""The outline of a line.

    >>> _outline_of(2, False, False)
    b'{"step":#,"samples":[#,#],"tokens":#,"packing":[[#,#],[#,#]]}\n'
    """
    ranges = [[0, 0]] * samples
    line = Line(0, [0] * samples, 0, ranges, 0 if has_row_len else None, ranges if has_spans else None)
    return line.encode().replace(b"0", _NUMBER)


def _from_lines(lines: list[Line]) -> Columns:
    none = [[WHOLE, WHOLE]]
    ranges = np.array([pair for line in lines for pair in line.packing], dtype=np.int64).reshape(-1, 2)
    spans = [pair for line in lines for pair in line.spans or none * len(line.samples)]
    both = np.array(spans, dtype=np.int64).reshape(-1, 2)
    return Columns(
        step=np.array([line.step for line in lines], dtype=np.int64),
        tokens=np.array([line.tokens for line in lines], dtype=np.int64),
        row_lens=np.array([line.row_len or 0 for line in lines], dtype=np.int64),
        sizes=np.array([len(line.samples) for line in lines], dtype=np.int64),
        sample=np.array([sample for line in lines for sample in line.samples], dtype=np.int64),
        start=ranges[:, 0],
        end=ranges[:, 1],
        span_start=both[:, 0],
        span_end=both[:, 1],
    )
