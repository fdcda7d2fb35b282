"""One pass over a data set, shared by the length cache and by training: rows in, ids and digests out."""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lazarus_core.canonical import digest_text
from lazarus_core.printable import utf8_name
from lazarus_plan import LengthRow, LengthsHeader, merkle_root
from lazarus_tokenkit.encoding.encoder import Encoded, Encoder
from lazarus_tokenkit.errors import TemplateError
from lazarus_tokenkit.samples.files import Paths, data_files
from lazarus_tokenkit.samples.kinds import LabelledSample, TextSample
from lazarus_tokenkit.samples.read import FieldNames, Row, as_paths, read_rows
from lazarus_tokenkit.tokenizers.ids import ids_prefix

CHUNK = 250
"""Samples encoded at a time: what they make stays in the processor's caches, a tenth less work than with 1,000."""
PREFIX_BYTES = 4
"""Bytes of a digest that stand in a length cache as 8 hexadecimal digits."""


@dataclass(frozen=True)
class EncodedRow:
    """A sample as a model sees it, and what proves that it is the planned one.

    Args:
        id: The sample's name.
        path: Its file.
        line: Its 1-based line there.
        ids: Token ids.
        loss_mask: 1 where the token, as a label, carries loss, else 0.
        parts: Tokens of each part of a sample of several, or None for a sample of one.
        row_digest: SHA-256 of the content, 32 bytes.
        h: 8 hexadecimal digits of SHA-256 over the ids as u32 little-endian.
        loss_bytes: UTF-8 bytes of the texts that carry loss.
        label: Whether the answer is desirable; None where the row does not say.
        is_text: Whether it is a text, not a conversation or a pair.
    """

    id: str
    path: Path
    line: int
    ids: list[int]
    loss_mask: list[int]
    parts: tuple[int, ...] | None
    row_digest: bytes
    h: str
    loss_bytes: int
    label: bool | None = None
    is_text: bool = False

    @property
    def length_row(self) -> LengthRow:
        """The sample's line in a length cache."""
        return LengthRow(
            self.id, len(self.ids), sum(self.loss_mask), self.parts, self.h, self.row_digest[:PREFIX_BYTES].hex()
        )


def encode_rows(
    paths: Paths, encoder: Encoder, fields: FieldNames | None = None, chunk: int = CHUNK
) -> Iterator[EncodedRow]:
    """Encodes data files row by row, in order; holds `chunk` samples at a time.

    Raises:
        SampleError: Whatever is wrong with a file or a row.
        TemplateError: A template that cannot be used, or a conversation that it refuses; then file and line are named.
    """
    _ = encoder.chat_template  # fails before the first row, not because of it
    rows = read_rows(paths, fields)
    while batch := list(islice(rows, chunk)):
        for row, encoded in zip(batch, _encode(batch, encoder), strict=True):
            yield EncodedRow(
                id=row.sample.id,
                path=row.path,
                line=row.line,
                ids=encoded.ids,
                loss_mask=encoded.loss_mask,
                parts=encoded.parts,
                row_digest=row.sample.digest,
                h=ids_prefix(encoded.ids),
                loss_bytes=encoded.loss_bytes,
                label=row.sample.label if isinstance(row.sample, LabelledSample) else None,
                is_text=isinstance(row.sample, TextSample),
            )


def source_header(paths: Paths, encoder: Encoder, row_digests: Sequence[bytes]) -> LengthsHeader:
    """What rows were made from: the first three links of the chain.

    Args:
        paths: The data files.
        encoder: What encoded them.
        row_digests: `EncodedRow.row_digest` of every row, in order.
    """
    return header_of(paths, encoder, len(row_digests), merkle_root(row_digests))


def header_of(
    paths: Paths,
    encoder: Encoder,
    count: int,
    root: bytes,
    engine: str | None = None,
) -> LengthsHeader:
    """`source_header` where the root is known.

    Args:
        paths: The data files.
        encoder: What encoded them.
        count: Number of rows.
        root: Merkle root over their digests.
        engine: What encoded batches, where it was not the tokenizer itself: stands beside the library's version.
    """
    fingerprint = encoder.fingerprint
    library = {"library": f"{fingerprint.library}, lengths by {engine}"} if engine else {}
    return LengthsHeader(
        count=count,
        data=digest_text(root),
        template=f"sha256:{encoder.template_digest}",
        tokenizer=f"sha256:{fingerprint.fingerprint}",
        encoding=encoder.parameters,
        parts={
            "data": {"files": [_file_digest(file) for path in as_paths(paths) for file in data_files(path)]},
            "template": encoder.template_parts,
            "tokenizer": fingerprint.parts | library,
        },
    )


def _encode(batch: Sequence[Row], encoder: Encoder) -> Iterable[Encoded]:
    with naming_rows(batch, encoder):
        return encoder.encode_batch([row.sample for row in batch])


@contextmanager
def naming_rows(batch: Sequence[Row], encoder: Encoder) -> Generator[None]:
    """Names file and line of the sample whose conversation a template refuses."""
    try:
        yield
    except TemplateError:
        for row in batch:  # one of them
            try:
                encoder.encode(row.sample)
            except TemplateError as error:
                raise TemplateError(f"{row.place}: {error.message}", error.code) from error
        raise


def _file_digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return {"name": utf8_name(path.name), "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
