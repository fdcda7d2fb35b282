"""Token ids from outside, checked before MLX sees them.

MLX on a CPU does not check an index: it reads and writes beyond an array, which ends the process at best. So ids of
prompts, biases and masks are compared with the model's vocabulary where they enter, in Python, where that costs nothing.
"""

from collections.abc import Collection
from typing import Any

from lazarus_models.errors import GenerationError


def check_ids(ids: Collection[int], size: int, what: str, code: str = "LM-E143") -> None:
    """Refuses ids that a model does not have.

    >>> check_ids([0, 511], 512, "the prompt")

    Args:
        ids: Token ids.
        size: Rows of the model's embedding: ids lie in [0, size).
        what: Holds the ids, for the message.
        code: Of the error.

    Raises:
        GenerationError: An id is negative, or `size` or more.
    """
    if not ids:
        return
    lowest, highest = min(ids), max(ids)
    if lowest < 0 or highest >= size:
        wrong = lowest if lowest < 0 else highest
        raise GenerationError(f"{what} holds id {wrong}, the model knows ids below {size}; is it this tokenizer?", code)


def check_bias(bias: Collection[int], size: int) -> None:
    """Refuses a `logit_bias` for tokens that a model does not have."""
    check_ids(bias, size, "`logit_bias`", "LM-E149")


def size_of(model: Any) -> int | None:
    """Rows of a model's embedding; None for a callable that has no config and says it with its logits only."""
    return getattr(getattr(model, "config", None), "vocab_size", None)
