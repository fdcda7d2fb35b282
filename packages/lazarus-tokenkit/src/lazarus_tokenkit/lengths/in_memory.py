"""Length caches of samples in memory, with the fingerprints of template and tokenizer."""

from collections.abc import Iterable
from itertools import islice

from lazarus_plan import LengthCache, LengthRow, LengthsError, merkle_root
from lazarus_tokenkit.encoding.encoder import Encoder
from lazarus_tokenkit.lengths.measure import CHUNK, PREFIX_BYTES, header_of
from lazarus_tokenkit.samples.kinds import Sample
from lazarus_tokenkit.tokenizers.ids import ids_prefix


def measure_samples(samples: Iterable[Sample], encoder: Encoder, name: str = "memory") -> LengthCache:
    """Encodes samples and keeps their lengths: the cache that `build_lengths` writes of the same samples in a file.

    Args:
        samples: In the order of the plan's numbers; their ids are unique.
        encoder: Tokenizer and template.
        name: Of the cache, in messages and in the plan's metadata.

    Raises:
        TemplateError: The template cannot be used, or refuses a conversation; then the sample is named.
        LengthsError: Two samples have one id, or there is none.
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
        raise LengthsError("there are no samples, so nothing can be planned", "LP-E002")
    return LengthCache.from_rows(rows, header_of((), encoder, len(rows), merkle_root(digests)), name)
