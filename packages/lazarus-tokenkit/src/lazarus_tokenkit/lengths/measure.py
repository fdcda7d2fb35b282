"""Encodes a data set row by row, for length caches and for training."""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lazarus_core.canonical import digest_text
from lazarus_core.printable import utf8_name
from lazarus_plan import LengthRow, LengthsHeader
from lazarus_plan.format import merkle_root
from lazarus_tokenkit.encoding.encoder import Encoded, Encoder
from lazarus_tokenkit.errors import SampleError, TemplateError
from lazarus_tokenkit.images import image_manifests
from lazarus_tokenkit.lengths.corpus_manifest import manifest_files
from lazarus_tokenkit.samples.files import Paths, data_files
from lazarus_tokenkit.samples.kinds import IdsSample, LabelledSample, TextSample
from lazarus_tokenkit.samples.read import FieldNames, Row, as_paths, read_rows
from lazarus_tokenkit.tokenizers.ids import ids_prefix

CHUNK = 250
"""Samples encoded at a time. Their data fit into the CPU caches: 10 % less CPU time than with 1,000."""
PREFIX_BYTES = 4
"""Bytes of a digest that a length cache stores, as 8 hexadecimal digits."""


@dataclass(frozen=True)
class EncodedRow:
    """An encoded sample with its place and digests. The digests verify it against a plan.

    Args:
        id: Id of the sample.
        path: The file.
        line: 1-based line.
        ids: Token ids.
        loss_mask: 1 for each token that carries loss as a label, else 0; as long as `ids`.
        parts: Number of tokens of each part of a sample with several parts, else None.
        row_digest: SHA-256 of the content, 32 bytes.
        h: First 8 hexadecimal digits of SHA-256 over the ids as u32 little-endian.
        loss_bytes: UTF-8 bytes of the texts that carry loss.
        label: Whether the answer is desirable; None for samples without a label.
        is_text: Whether the sample is a document, as text or as token ids.
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
        """The sample's row of a length cache."""
        return LengthRow(
            self.id, len(self.ids), sum(self.loss_mask), self.parts, self.h, self.row_digest[:PREFIX_BYTES].hex()
        )


def encode_rows(
    paths: Paths, encoder: Encoder, fields: FieldNames | None = None, chunk: int = CHUNK
) -> Iterator[EncodedRow]:
    """Encodes data files row by row, in order.

    Args:
        paths: Data files.
        encoder: Encodes the samples.
        fields: Names of the fields, or None for the standard names.
        chunk: Number of samples encoded and kept in memory at a time.

    Raises:
        SampleError: A file or a row is invalid.
        TemplateError: The template is invalid, or it refuses a conversation. The message then names file and line.
    """
    _ = encoder.chat_template  # an invalid template is not the error of the first row
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
                is_text=isinstance(row.sample, TextSample | IdsSample),
            )


def source_header(paths: Paths, encoder: Encoder, row_digests: Sequence[bytes]) -> LengthsHeader:
    """Returns the header of a length cache: the digests of data, template and tokenizer.

    Args:
        paths: The data files.
        encoder: The encoder of the rows.
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
    """Returns the header of a length cache, given the Merkle root of its rows.

    Args:
        paths: The data files.
        encoder: The encoder of the rows.
        count: Number of rows.
        root: Merkle root over the rows' digests, 32 bytes.
        engine: Name of the engine that encoded the batches, if it was not the reference engine. Stored as information.

    Raises:
        SampleError: A data file is a shard of a corpus or has a manifest of images, and was changed since.
    """
    fingerprint = encoder.fingerprint
    files = [file for path in as_paths(paths) for file in data_files(path)]
    digests = [_file_digest(file) for file in files]
    named = [(file, digest["sha256"]) for file, digest in zip(files, digests, strict=True)]
    manifests = [*manifest_files(named), *image_manifests(named)]
    library = {"library": f"{fingerprint.library}, lengths by {engine}"} if engine else {}
    return LengthsHeader(
        count=count,
        data=digest_text(root),
        template=f"sha256:{encoder.template_digest}",
        tokenizer=f"sha256:{fingerprint.fingerprint}",
        encoding=encoder.parameters,
        parts={
            "data": {"files": [*digests, *manifests]},
            "template": encoder.template_parts,
            "tokenizer": fingerprint.parts | library,
        },
    )


def _encode(batch: Sequence[Row], encoder: Encoder) -> Iterable[Encoded]:
    with row_places_in_errors(batch, encoder):
        return encoder.encode_batch([row.sample for row in batch])


@contextmanager
def row_places_in_errors(batch: Sequence[Row], encoder: Encoder) -> Generator[None]:
    """Adds file and line to the error of a template that refuses a conversation.

    Args:
        batch: The rows that are encoded inside the context.
        encoder: Encodes them.

    Raises:
        TemplateError: The template refuses a conversation.
        SampleError: A row of token ids has one that is not in the vocabulary.
    """
    try:
        yield
    except (TemplateError, SampleError):
        for row in batch:  # find the row that is refused
            try:
                encoder.encode(row.sample)
            except (TemplateError, SampleError) as error:
                raise type(error)(f"{row.place}: {error.message}", error.code) from error
        raise


def _file_digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return {"name": utf8_name(path.name), "bytes": path.stat().st_size, "sha256": digest.hexdigest()}
