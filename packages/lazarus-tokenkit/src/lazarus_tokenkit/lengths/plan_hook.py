"""Encodes selected rows again. `lazarus-plan` finds this function by the entry point group `lazarus.lengths`."""

from collections.abc import Iterator, Sequence
from typing import Any

from lazarus_plan import LengthRow
from lazarus_plan.checks import Recipe
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit.encoding.encoder import ENCODE_VERSION, Encoder
from lazarus_tokenkit.lengths.measure import EncodedRow, row_places_in_errors
from lazarus_tokenkit.samples.read import FieldNames, read_rows
from lazarus_tokenkit.tokenizers.ids import ids_prefix
from lazarus_tokenkit.tokenizers.load import load_tokenizer


def measure_rows(recipe: Recipe, encoding: dict[str, Any], positions: Sequence[int]) -> Iterator[LengthRow]:
    """Computes the rows of a length cache at the given positions. Reading stops after the last position.

    Args:
        recipe: Data files, tokenizer, template and field names.
        encoding: Parameters of the original encoding: template and pinned date.
        positions: 0-based row positions over all files, ascending.

    Raises:
        TokenkitError: The tokenizer, a file or a row is invalid.
        StalePlan: The lengths were encoded with another `encode_version`, which gives other ids.
    """
    version = encoding.get("encode_version", ENCODE_VERSION)
    if version != ENCODE_VERSION:
        raise StalePlan(
            f"the lengths were encoded with `encode_version` {version}, this lazarus-tokenkit has version"
            f" {ENCODE_VERSION}: build lengths and plan again",
            "LP-E146",
        )
    tokenizer = load_tokenizer(recipe.tokenizer)
    pinned = {"pinned_date": encoding["pinned_date"]} if "pinned_date" in encoding else {}
    encoder = Encoder(tokenizer, template=recipe.template or encoding.get("template"), **pinned)
    wanted = iter(positions)
    position = next(wanted, None)
    for at, row in enumerate(read_rows(recipe.data, FieldNames(**recipe.fields))):
        if position is None:
            return
        if at == position:
            with row_places_in_errors([row], encoder):
                encoded = encoder.encode(row.sample)
            yield EncodedRow(
                row.sample.id,
                row.path,
                row.line,
                encoded.ids,
                encoded.loss_mask,
                encoded.parts,
                row.sample.digest,
                ids_prefix(encoded.ids),
                encoded.loss_bytes,
            ).length_row
            position = next(wanted, None)
