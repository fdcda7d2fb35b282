"""Length caches of rows in memory, for data that is in no file that lazarus-tokenkit reads."""

import hashlib
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from numbers import Integral
from pathlib import Path
from typing import Any, cast

from lazarus_core.bounded import MAX_ID_BYTES
from lazarus_core.canonical import JSON, MAX_INTEGER, digest_text
from lazarus_plan.errors import LengthsError
from lazarus_plan.format.merkle import merkle_root
from lazarus_plan.lengths.cache import ABSENT, PREFIX_HEX, LengthCache, LengthRow, LengthsHeader, LengthsWriter

MemoryRow = tuple[str, int] | tuple[str, Sequence[int]] | tuple[str, Sequence[int], Sequence[int]]
"""(id, length), (id, token ids), or (id, token ids, loss mask)."""
WRONG_ROW = "LP-E200"


def make_lengths(
    rows: Iterable[MemoryRow],
    *,
    data: str | None = None,
    template: str = ABSENT,
    tokenizer: str = ABSENT,
    encoding: JSON | None = None,
    name: str = "memory",
) -> LengthCache:
    """A length cache of rows in memory.

    The digest of a row with ids is SHA-256 over `{"input_ids":[..]}` or `{"input_ids":[..],"mask":[..]}`, and `data` is
    their Merkle root. Rows of lengths alone have no digests.

    >>> cache = make_lengths([("a", [5, 6, 7]), ("b", [8, 9])])
    >>> cache.length.tolist(), cache.header.data[:15]
    ([3, 2], 'sha256:20189738')

    Args:
        rows: (id, length), (id, token ids) or (id, token ids, loss mask), all of one kind. Ids are unique; a mask has
            0 or 1 for each token.
        data: Digest of the data, where you have one; by default that of the rows.
        template: Digest of what turned data into text.
        tokenizer: Digest of what turned text into ids.
        encoding: Parameters that change ids, as canonical JSON allows them.
        name: Of the cache, in messages and in the plan's metadata.

    Raises:
        LengthsError: A row is of another kind or repeats an id, or there is none; the message names its number.
    """
    measured: list[LengthRow] = []
    digests: list[bytes] = []
    for number, row in enumerate(rows):
        length_row, digest = _measured(row, number)
        measured.append(length_row)
        if digest is not None:
            digests.append(digest)
        if len(digests) not in (0, number + 1):
            raise LengthsError(f"row {number} has another form than row 0: give ids in all rows or in none", WRONG_ROW)
    if not measured:
        raise LengthsError("there are no rows, so nothing can be planned", "LP-E002")
    if data is None:
        data = digest_text(merkle_root(digests)) if digests else ABSENT
    header = LengthsHeader(len(measured), data, template, tokenizer, encoding or {})
    return LengthCache.from_rows(measured, header, name)


def save_lengths(cache: LengthCache, path: Path | str) -> None:
    """Writes a length cache that is in memory; the file appears whole or not at all.

    Args:
        cache: Of `make_lengths`, or of `LengthCache.from_rows`.
        path: The file; one that is there is replaced.

    Raises:
        LengthsError: The rows had members that a cache does not keep in memory, such as `parts`.
    """
    if LengthCache.from_rows(_rows(cache), cache.header).digest != cache.digest:
        raise LengthsError(
            f"{cache.name} was made from rows with members that are not kept in memory: write them by `LengthsWriter`",
            "LP-E201",
        )
    with LengthsWriter(path) as writer:
        for row in _rows(cache):
            writer.add(row)
        writer.finish(replace(cache.header, count=len(cache)))


def _measured(row: Any, number: int) -> tuple[LengthRow, bytes | None]:
    """The line of a row, and the digest of its ids where it has some."""
    match row:
        case (str(name), length) if _is_length(length):
            if not 0 <= int(length) <= MAX_INTEGER:
                raise LengthsError(f"row {number}: length {length} is outside 0..2^53-1", WRONG_ROW)
            return LengthRow(_bounded(name, number), int(length)), None
        case (str(name), ids) if _is_column(ids):
            words = _words(ids, number)
            return _with_ids(_bounded(name, number), words, None)
        case (str(name), ids, mask) if _is_column(ids) and _is_column(mask):
            words, flags = _words(ids, number), _flags(mask, number)
            if len(flags) != len(words):
                raise LengthsError(f"row {number}: {len(words)} ids, but a mask of {len(flags)}", WRONG_ROW)
            return _with_ids(_bounded(name, number), words, flags)
        case _:
            raise LengthsError(
                f"row {number} is {type(row).__name__}: give (id, length), (id, token ids) or (id, token ids, mask),"
                " the id a text",
                WRONG_ROW,
            )


def _with_ids(name: str, ids: "array[int]", mask: list[int] | None) -> tuple[LengthRow, bytes]:
    listed = ",".join(map(str, ids))
    masked = "" if mask is None else f',"mask":[{",".join(map(str, mask))}]'
    digest = hashlib.sha256(f'{{"input_ids":[{listed}]{masked}}}'.encode()).digest()
    if sys.byteorder == "big":
        ids.byteswap()
    return (
        LengthRow(
            name,
            len(ids),
            None if mask is None else sum(mask),
            h=hashlib.sha256(ids).hexdigest()[:PREFIX_HEX],
            row=digest.hex()[:PREFIX_HEX],
        ),
        digest,
    )


def _is_length(value: Any) -> bool:
    return isinstance(value, Integral) and value is not True and value is not False


def _is_column(value: Any) -> bool:
    """Whether a value may be a column of integers: a sequence or an array, no text."""
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, str | bytes | dict)


def _words(ids: Any, number: int) -> "array[int]":
    try:
        return array("I", cast("Iterable[int]", ids))
    except (TypeError, OverflowError, ValueError) as error:
        raise LengthsError(f"row {number}: token ids have to be integers of 0..2^32-1: {error}", WRONG_ROW) from error


def _flags(mask: Any, number: int) -> list[int]:
    flags = list(cast("Iterable[Any]", mask))
    for at, flag in enumerate(flags):
        if flag not in (0, 1):
            raise LengthsError(f"row {number}: the mask is {flag!r} at {at}, not 0 or 1", WRONG_ROW)
    return list(map(int, flags))


def _bounded(name: str, number: int) -> str:
    size = len(name.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_ID_BYTES:
        raise LengthsError(f"row {number}: the id has {size} bytes; give 1 to {MAX_ID_BYTES}", WRONG_ROW)
    return name


def _rows(cache: LengthCache) -> Iterator[LengthRow]:
    """The lines of a cache, from its columns."""
    loss = repeat(None) if cache.loss_tokens is None else cache.loss_tokens.tolist()
    prefixes = (
        repeat(None) if column is None else (f"{value:08x}" for value in column.tolist())
        for column in (cache.token_prefix, cache.row_prefix)
    )
    columns = zip(cache.ids, cache.length.tolist(), loss, *prefixes, strict=False)
    return (LengthRow(name, length, count, None, h, row) for name, length, count, h, row in columns)
