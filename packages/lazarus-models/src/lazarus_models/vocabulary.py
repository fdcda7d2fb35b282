"""Checks of token ids from callers.

MLX on a CPU does not check indices: it reads and writes outside the array, and the process may crash. So ids of prompts,
biases and masks are compared with the vocabulary in Python, before MLX uses them.
"""

from collections.abc import Collection
from typing import Any

from lazarus_models.errors import GenerationError


def check_ids(ids: Collection[int], size: int, what: str, code: str = "LM-E143") -> None:
    """Refuses ids outside a model's vocabulary.

    >>> check_ids([0, 511], 512, "the prompt")

    Args:
        ids: Token ids.
        size: Rows of the model's embedding: ids must be in [0, size).
        what: Name of the ids in the message.
        code: Code of the error.

    Raises:
        GenerationError: An id is negative, or `size` or more.
    """
    if not ids:
        return
    lowest, highest = min(ids), max(ids)
    if lowest < 0 or highest >= size:
        wrong = lowest if lowest < 0 else highest
        raise GenerationError(
            f"{what} contains id {wrong}, but the model's ids are below {size}; is the tokenizer the model's own?", code
        )


def check_bias(bias: Collection[int], size: int) -> None:
    """Refuses a `logit_bias` for ids outside a model's vocabulary.

    Args:
        bias: Token ids with a bias.
        size: Rows of the model's embedding.
    """
    check_ids(bias, size, "`logit_bias`", "LM-E149")


def size_of(model: Any) -> int | None:
    """Rows of a model's embedding; None for a callable without a config."""
    return getattr(getattr(model, "config", None), "vocab_size", None)
