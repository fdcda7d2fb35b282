"""Vectorised reader for length caches in the form that this package writes. Other forms are left to `lines`.

A line is fixed text around an id, one or two numbers and hexadecimal prefixes. All lines of a block are processed at
once, from the line's end backwards, 8 bytes at a time as one integer. The spaces in `": "` and `, "`, which Python's
`json` writes, are removed first; neither can occur inside an id without a backslash.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.bounded import MAX_ID_BYTES, open_file, read_blocks
from lazarus_core.canonical import JSON, digest_text
from lazarus_plan.lengths.cache import PREFIX_HEX, LengthCache, LengthsHeader, LineIds
from lazarus_plan.lengths.lines import read_head, read_lines

BLOCK_BYTES = 1 << 19
"""Bytes per block, so that they and their arrays stay in the processor's cache."""
MAX_DIGITS = 15
"""Numbers with more digits are left to the slow reader, which checks the limit of 2^53."""

# A byte value times this is that value in all 8 bytes of a word.
_ONES = 0x0101010101010101
_TEN = np.uint8(10)
_ZERO = np.uint8(ord("0"))


@dataclass(frozen=True)
class _Shape:
    """Optional members of the lines, in this order. All lines must have the same ones."""

    loss_tokens: bool
    h: bool
    row: bool

    @classmethod
    def of(cls, members: JSON) -> "_Shape":
        return cls("loss_tokens" in members, "h" in members, "row" in members)

    @property
    def quotes(self) -> int:
        """Number of quotation marks in a line."""
        return 6 + 2 * self.loss_tokens + 4 * self.h + 4 * self.row


class _Scan:
    """Columns read so far."""

    def __init__(self, header: LengthsHeader) -> None:
        self.sha = hashlib.sha256(header.identity_line())
        self.columns: dict[str, list[NDArray[Any]]] = defaultdict(list)

    def add(self, block: bytes, shape: _Shape) -> bool:
        """Read a block of whole lines; False if any line has another form."""
        # To the compact form; the digest is over that form, so spaces do not change it.
        if b'": ' in block:
            block = block.replace(b'": ', b'":').replace(b', "', b',"')
        lines = _Lines(block)
        if not lines.is_plain(shape):
            return False
        # Read from the end: the members after the id have a known form, the id has any length.
        lines.expect(b"}")
        if shape.row:
            self.columns["row_prefix"].append(lines.take_hex(b',"row":"'))
        if shape.h:
            self.columns["token_prefix"].append(lines.take_hex(b',"h":"'))
        if shape.loss_tokens:
            self.columns["loss_tokens"].append(lines.take_number())
            lines.expect(b',"loss_tokens":')
        self.columns["length"].append(lines.take_number())
        lines.expect(b'","length":')
        self.columns["id_hash"].append(lines.take_id(b'{"id":"'))
        self.sha.update(block)
        return lines.is_canonical

    def column(self, name: str) -> NDArray[Any] | None:
        """A whole column, or None if the lines lack it. Its parts are released."""
        parts = self.columns.pop(name, None)
        return np.concatenate(parts) if parts else None


class _Lines:
    """Lines of a block, read backwards; `at` is the end of the unread part of each line."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.text = np.frombuffer(block, dtype=np.uint8)
        # The same bytes, 8 at a time from every place; zeros before the first line and after the last.
        padded = bytes(8) + block + bytes(8)
        # Element i is text[i - 8:i], since 8 zero bytes come first.
        self.words = np.ndarray((len(block) + 9,), dtype="<u8", buffer=padded, strides=(1,))
        self.at = np.flatnonzero(self.text == ord("\n"))
        self.starts = np.concatenate([[0], self.at[:-1] + 1])
        self.is_canonical = True

    def is_plain(self, shape: _Shape) -> bool:
        """Whether the block has no escapes and no quotation marks inside ids."""
        quotes = int(np.count_nonzero(self.text == ord('"')))
        controls = int(np.count_nonzero(self.text < ord(" ")))
        if b"\\" in self.block or controls != len(self.at) or quotes != shape.quotes * len(self.at):
            return False
        try:
            self.block.decode()
        except UnicodeDecodeError:
            return False
        return self.block.endswith(b"\n")

    def expect(self, literal: bytes) -> None:
        """Read fixed text backwards."""
        for end in range(len(literal), 0, -8):
            piece = literal[max(0, end - 8) : end]
            word = self._before(self.at)
            # Little-endian: the last bytes are the highest, so a right shift drops the bytes before the piece.
            shift = np.uint64(8 * (8 - len(piece)))
            self._require(word >> shift == np.uint64(int.from_bytes(piece, "little")))
            self._step_back(len(piece))

    def take_number(self) -> NDArray[np.int64]:
        """Read a decimal number backwards."""
        value = np.zeros(len(self.at), dtype=np.int64)
        active = np.arange(len(self.at))
        at = self.at.copy()
        last = np.full(len(self.at), _TEN)  # the digit read last: the first one of the number, at the end
        for place in range(MAX_DIGITS + 1):
            # Unsigned: a byte below "0" wraps to a value above 9.
            digit = self.text[at[active] - 1] - _ZERO
            is_digit = digit < _TEN
            active, digit = active[is_digit], digit[is_digit]
            if not len(active):
                break
            # The digit's weight is its place from the right; lines whose number has ended drop out.
            value[active] += digit.astype(np.int64) * 10**place
            last[active] = digit
            at[active] -= 1
        width = self.at - at
        # At least one digit, not too many, and no leading zero.
        self._require((width > 0) & (width <= MAX_DIGITS) & ((last > 0) | (width == 1)))
        self.at = at
        return value

    def take_hex(self, name: bytes) -> NDArray[np.uint32]:
        """Read a member of 8 hexadecimal digits backwards."""
        self.expect(b'"')
        word = self._before(self.at)
        # ASCII to value, 8 digits at once: "0".."9" have bit 6 clear and their value in the low half;
        # "a".."f" have bit 6 set and 1..6 in the low half, so add 9.
        nibble = (word & np.uint64(0x0F * _ONES)) + np.uint64(9) * ((word >> np.uint64(6)) & np.uint64(_ONES))
        # value + 6 carries into bit 4 exactly for 10..15.
        is_letter = ((nibble + np.uint64(6 * _ONES)) >> np.uint64(4)) & np.uint64(_ONES)
        # Back to ASCII: value + 0x30, and 39 more for letters. A mismatch is an upper-case or a foreign character.
        self._require(nibble + np.uint64(0x30 * _ONES) + is_letter * np.uint64(39) == word)
        self._require((nibble & np.uint64(0xF0 * _ONES)) == 0)  # `g` to `o` would give 16 to 24
        self._step_back(PREFIX_HEX)
        self.expect(name)
        value = np.zeros(len(word), dtype=np.uint32)
        for place in range(PREFIX_HEX):
            # The first digit is the lowest byte and the most significant digit: shift it in first.
            value = (value << np.uint32(4)) | ((nibble >> np.uint64(8 * place)) & np.uint64(15)).astype(np.uint32)
        return value

    def take_id(self, opening: bytes) -> NDArray[np.uint64]:
        """A hash of each id, which extends to the line's start. Different ids rarely have equal hashes."""
        begin = self.starts + len(opening)
        size = self.at - begin
        self._require((size > 0) & (size <= MAX_ID_BYTES))  # a longer one is refused by the slow reader
        if not self.is_canonical:
            return np.zeros(len(size), dtype=np.uint64)
        hashed = size.astype(np.uint64)
        for offset in range(0, int(size.max(initial=0)), 8):
            longer = np.flatnonzero(size > offset)
            left = np.minimum(size[longer] - offset, 8).astype(np.uint64)
            # A short last word is shifted to the top: the bytes after the id fall out.
            word = self.words[begin[longer] + (8 + offset)] << (np.uint64(64) - np.uint64(8) * left)
            # Multiply-xorshift mixing. The initial state is the size, so ids of different size start differently.
            mixed = (hashed[longer] ^ word) * np.uint64(0x9E3779B97F4A7C15)
            hashed[longer] = mixed ^ (mixed >> np.uint64(29))
        self.at = begin
        self.expect(opening)
        return hashed

    def _step_back(self, size: int) -> None:
        """Move backwards. A line that is too short leads into the previous one; the id check detects that."""
        self.at = np.maximum(self.at - size, 0)

    def _before(self, at: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The 8 bytes before each position, as little-endian integers."""
        return self.words[at]

    def _require(self, holds: NDArray[np.bool_]) -> None:
        self.is_canonical = self.is_canonical and bool(holds.all())


def scan(path: Path) -> LengthCache:
    """Read a length cache, fast if it has the usual form.

    Raises:
        LengthsError: A missing, empty or malformed file; the message names file and line.
        FormatError: A header of a newer format.
    """
    return _scan_plain(path) or read_lines(path)


def _scan_plain(path: Path) -> LengthCache | None:
    header, first = read_head(path)
    if first is None:
        return None
    if header is None:
        header = LengthsHeader(sum(block.count(b"\n") for block in _blocks(path, 0)))
    found, shape = _Scan(header), _Shape.of(first.members)
    if not all(found.add(block, shape) for block in _blocks(path, first.offset)):
        return None
    hashes, length = found.column("id_hash"), found.column("length")
    if hashes is None or length is None or len(length) != header.count:
        return None
    # Equal neighbours after the sort are repeated ids, or a rare collision: the slow reader decides.
    hashes.sort()
    if (hashes[1:] == hashes[:-1]).any():
        return None  # an id that occurs twice, most likely
    return LengthCache(
        name=path.name,
        header=header,
        digest=digest_text(found.sha.digest()),
        ids=LineIds(path, header.count, first.offset),
        length=length,
        loss_tokens=found.column("loss_tokens"),
        token_prefix=found.column("token_prefix"),
        row_prefix=found.column("row_prefix"),
    )


def _blocks(path: Path, offset: int) -> Iterator[bytes]:
    """The rest of a file, in blocks of whole lines."""
    with open_file(path) as stream:
        stream.seek(offset)
        yield from read_blocks(stream, path, BLOCK_BYTES)
