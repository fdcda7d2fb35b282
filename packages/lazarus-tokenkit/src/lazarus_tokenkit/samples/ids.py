"""Rows of token ids, as other programs write them: `input_ids`, and which tokens carry loss."""

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.files import kind
from lazarus_tokenkit.samples.kinds import JSON, IdsSample
from lazarus_tokenkit.tokenizers.ids import ids_in

LABELS, MASKS = "labels", ("loss_mask", "mask")
"""Fields that say which tokens carry loss: labels as transformers reads them, or 1 and 0."""
NO_LABEL = -100
"""Label of a token without loss."""
NOT_IDS = "LT-E326"
_U32 = 2**32


def read_ids(row: JSON, name: str, sample_id: str) -> IdsSample:
    """Converts a row of token ids to a sample.

    Args:
        row: The fields.
        name: Field of the ids.
        sample_id: Id of the sample.

    Raises:
        SampleError: A field is no list of integers, or the fields do not fit together.
    """
    ids = _integers(row, name)
    if len(ids) and (ids.min() < 0 or ids.max() >= _U32):
        raise SampleError(f"`{name}` has an id that is not from 0 to 2**32 - 1", NOT_IDS)
    if not len(ids):
        raise SampleError(f"`{name}` is empty: remove the row", NOT_IDS)
    if row.get("attention_mask") is not None and not _integers(row, "attention_mask", len(ids)).all():
        raise SampleError(f"`attention_mask` marks padding in `{name}`: leave the padding out", NOT_IDS)
    return IdsSample(sample_id, ids_in(ids.astype(np.uint32).tobytes()), _loss_mask(row, name, ids))


def _loss_mask(row: JSON, name: str, ids: NDArray[np.int64]) -> bytes | None:
    given = [each for each in (LABELS, *MASKS) if row.get(each) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise SampleError(f"`{given[0]}` and `{given[1]}` both say which tokens carry loss: keep one of them", NOT_IDS)
    values = _integers(row, given[0], len(ids))
    if given[0] != LABELS:
        if ((values != 0) & (values != 1)).any():
            raise SampleError(f"`{given[0]}` has a value that is neither 0 nor 1", NOT_IDS)
        return values.astype(np.uint8).tobytes()
    has_loss = values != NO_LABEL
    wrong = np.flatnonzero(has_loss & (values != ids))
    if len(wrong):
        place = int(wrong[0])
        raise SampleError(
            f"label {place} is {int(values[place])}, the id there is {int(ids[place])}: give labels that are equal to `{name}`,"
            f" not shifted, or {NO_LABEL} without loss",
            NOT_IDS,
        )
    return has_loss.astype(np.uint8).tobytes()


def _integers(row: JSON, name: str, count: int | None = None) -> NDArray[np.int64]:
    """A field as integers.

    Args:
        row: The fields.
        name: The field.
        count: Number of values that it must have; None for any.
    """
    value: Any = row.get(name)
    if not isinstance(value, list | np.ndarray):
        found = f"is {kind(value)}" if name in row else "is missing"
        raise SampleError(f"`{name}` {found}: give a list of integers", NOT_IDS)
    allowed = (int, bool) if count is not None else (int,)  # a mask may be of true and false
    if isinstance(value, list) and not all(type(each) in allowed for each in cast("list[object]", value)):
        raise SampleError(f"`{name}` has a value that is no integer", NOT_IDS)
    try:
        found = np.asarray(value, np.int64)
    except OverflowError as error:
        raise SampleError(f"`{name}` has an integer that is out of range", NOT_IDS) from error
    if found.ndim != 1:
        raise SampleError(f"`{name}` is not a flat list of integers", NOT_IDS)
    if count is not None and len(found) != count:
        raise SampleError(f"`{name}` has {len(found)} values for {count} ids", NOT_IDS)
    return found
