"""A minimal Protocol Buffers reader for SentencePiece models."""

from collections.abc import Iterator

Value = int | bytes
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_fields(message: bytes) -> Iterator[tuple[int, Value]]:
    r"""Yields the number and the value of every field. Fixed-width values, strings and messages are bytes.

    >>> list(read_fields(b"\x08\x96\x01\x12\x02hi"))
    [(1, 150), (2, b'hi')]

    Raises:
        ValueError: The bytes are not a valid message.
    """
    place = 0
    while place < len(message):
        # A key has the field number in its upper bits and the wire type in its lowest three bits.
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == BYTES:
            size, place = _varint(message, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {place}")
        if number == 0 or place + size > len(message):
            raise ValueError(f"a field of {size} bytes at byte {place} of {len(message)}")
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    # Seven bits a byte, lowest bits first; the high bit says that another byte follows.
    value = shift = 0
    while True:
        if place >= len(message) or shift > 63:
            raise ValueError(f"an unterminated number at byte {place}")
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
