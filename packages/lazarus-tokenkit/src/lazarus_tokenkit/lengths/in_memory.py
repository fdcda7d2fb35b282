"""Builds length caches of samples in memory."""

from collections.abc import Iterable
from itertools import islice

from lazarus_plan import LengthCache, LengthRow
from lazarus_plan.errors import LengthsError
from lazarus_plan.format import merkle_root
from lazarus_tokenkit.encoding.encoder import Encoder
from lazarus_tokenkit.lengths.measure import CHUNK, PREFIX_BYTES, header_of
from lazarus_tokenkit.samples.kinds import Sample
from lazarus_tokenkit.tokenizers.ids import ids_prefix


def measure_samples(samples: Iterable[Sample], encoder: Encoder, name: str = "memory") -> LengthCache:
    """Encodes samples and returns their length cache, equal to that of `build_lengths` for a file with these samples.

    Args:
        samples: The samples with unique ids. The plan refers to them by position.
        encoder: Encodes the samples.
        name: Name of the cache in messages and in the plan's metadata.

    Raises:
        TemplateError: The template is invalid, or it refuses a conversation. The message then names the sample.
        LengthsError: Two samples have the same id, or there are no samples.
    """
    waiting = iter(samples)
    rows: list[LengthRow] = []
    digests: list[bytes] = []
    while batch := list(islice(waiting, CHUNK)):
        for sample, encoded in zip(batch, encoder.encode_batch(batch), strict=True):
            digest = sample.digest
            prefixes = ids_prefix(encoded.ids), digest[:PREFIX_BYTES].hex()
            rows.append(LengthRow(sample.id, len(encoded.ids), sum(encoded.loss_mask), encoded.parts, *prefixes))
            digests.append(digest)
    if not rows:
        raise LengthsError("there are no samples to plan; give at least one", "LP-E002")
    return LengthCache.from_rows(rows, header_of((), encoder, len(rows), merkle_root(digests)), name)
