"""Documents and their digests."""

import hashlib
import json
from typing import NamedTuple

from lazarus_corpus.errors import SourceError

DIGEST_BYTES = 16
"""Bytes of a content digest."""


class Document(NamedTuple):
    """One document of a source.

    Args:
        id: Its own id, or the digest of its text as it was read.
        text: Its text.
        source: Name of its source.
        place: `file:line`, for messages; it has no influence on the result.
        group: What must stay in one split with it; empty for itself.
    """

    id: str
    text: str
    source: str
    place: str = ""
    group: str = ""


class Removal(NamedTuple):
    """A document that was removed.

    Args:
        id: The document's id.
        source: Its source.
        rule: Rule that removed it.
        witness: What shows that the rule holds: the id of the equal document, an evaluation item, or a short reason.
        example: Start of its text.
    """

    id: str
    source: str
    rule: str
    witness: str
    example: str = ""


def content_digest(text: str) -> bytes:
    """BLAKE2b of a text, 16 bytes.

    >>> content_digest("a").hex()
    '27c35e6e9373877f29e562464e46497e'
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def source_key(document: Document) -> bytes:
    """Digest of a document as it was read, with its id and group: its part of the digest of its source."""
    given = f"{document.id}\0{document.group}\0".encode("utf-8", "surrogatepass") + content_digest(document.text)
    return hashlib.blake2b(given, digest_size=DIGEST_BYTES).digest()


def is_held_out(name: str, share: float, seed: int) -> bool:
    """Whether the documents of an id or group are for validation.

    Args:
        name: The id or group.
        share: Share of validation documents.
        seed: Seed of the corpus.
    """
    return order_key(seed, "split", name) < share * 2.0**64


def order_key(seed: int, what: str, name: str) -> int:
    """A pseudo-random number in [0, 2**64) that only the arguments determine.

    Args:
        seed: Seed of the corpus.
        what: Purpose, so that two purposes draw independently.
        name: Id of a document or a group.
    """
    given = f"{seed}\0{what}\0{name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(given, digest_size=8).digest(), "big")


def stable_json(value: object) -> bytes:
    """JSON with sorted keys and without spaces. Floats are written as Python does: the shortest text of the same number."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def json_line(row: object, place: str, *, is_compact: bool = False, is_sorted: bool = False) -> bytes:
    """A row in JSON Lines, with its line feed.

    Args:
        row: The row.
        place: Its place, for the message.
        is_compact: No spaces between members, and between name and value.
        is_sorted: Members by name.

    Raises:
        SourceError: A value is none of JSON: NaN, or a date, bytes or a decimal number of a Parquet file.
    """
    separators = (",", ":") if is_compact else None
    try:
        line = json.dumps(row, sort_keys=is_sorted, ensure_ascii=False, separators=separators, allow_nan=False)
    except (TypeError, ValueError) as error:
        reason = "NaN or infinity" if isinstance(error, ValueError) else str(error)
        raise SourceError(f"{place}: no value of JSON ({reason}): change or remove its field", "LD-E106") from error
    return line.encode() + b"\n"
