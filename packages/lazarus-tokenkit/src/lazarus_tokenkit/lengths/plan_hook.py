"""Some rows of data encoded again, for `lazarus-plan verify --sample N --tokenizer T`: it looks for this by entry point."""

from collections.abc import Iterator, Sequence
from typing import Any

from lazarus_plan import LengthRow, StalePlan
from lazarus_plan.checks import Recipe
from lazarus_tokenkit.encoding.encoder import ENCODE_VERSION, Encoder
from lazarus_tokenkit.lengths.measure import EncodedRow, naming_rows
from lazarus_tokenkit.samples.read import FieldNames, read_rows
from lazarus_tokenkit.tokenizers.ids import ids_prefix
from lazarus_tokenkit.tokenizers.load import load_tokenizer


def measure_rows(recipe: Recipe, encoding: dict[str, Any], positions: Sequence[int]) -> Iterator[LengthRow]:
    """The lines of a length cache at some positions; reads no further than the last of them.

    Args:
        recipe: Data, tokenizer, fields.
        encoding: The parameters that the lengths were measured with: template and pinned date.
        positions: 0-based, ascending, over all files.

    Raises:
        TokenkitError: A tokenizer, file or row cannot be used.
        StalePlan: The lengths were measured with another version of the encoding, which gives other ids.
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
            with naming_rows([row], encoder):
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
