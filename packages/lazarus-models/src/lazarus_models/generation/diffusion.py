"""Generation with a masked-diffusion model: masks are replaced where the model is most confident (LLaDA, arXiv 2502.09992).

N = tokens of prompt and answer, V = vocabulary
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from jaxtyping import Float, Integer
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from lazarus_models.backend import mx
from lazarus_models.components.masks import bidirectional_mask
from lazarus_models.generation.sampling import position_key
from lazarus_models.packed_rows import mask_caches
from lazarus_models.trees import evaluate, integers
from lazarus_models.vocabulary import check_ids, size_of


class DiffusionConfig(BaseModel):
    """Settings of masked-diffusion generation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    mask_id: NonNegativeInt
    """The mask token; it is never part of the answer."""
    length: PositiveInt = 64
    """Tokens of the answer."""
    block: PositiveInt = 32
    """Tokens of a block; a block is finished before the next one begins."""
    steps: PositiveInt = 64
    """Forward passes for the whole answer, at least one a block."""
    temperature: NonNegativeFloat = 0.0
    """Divisor of the logits; 0 takes the most likely token."""
    remasking: Literal["low_confidence", "random"] = "low_confidence"
    """Which masks are replaced first: those with the most confident choice, or random ones."""
    guidance: NonNegativeFloat = 0.0
    """Strength of classifier-free guidance (arXiv 2207.12598); 0 for none."""
    causal: bool = False
    """Whether a token sees earlier tokens only, for a model trained with causal attention."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed of every draw."""

    @model_validator(mode="after")
    def _every_block_has_a_step(self) -> "DiffusionConfig":
        blocks = -(-self.length // self.block)
        if self.steps < blocks:
            raise ValueError(f"`steps` {self.steps} is below the {blocks} blocks of `length` {self.length}")
        return self

    @property
    def schedule(self) -> list[tuple[int, int, int]]:
        """(first token, end, steps) of each block; remaining steps go to the first blocks.

        >>> DiffusionConfig(mask_id=0, length=10, block=4, steps=8).schedule
        [(0, 4, 3), (4, 8, 3), (8, 10, 2)]
        """
        starts = range(0, self.length, self.block)
        each, more = divmod(self.steps, len(starts))
        return [
            (start, min(start + self.block, self.length), each + (place < more)) for place, start in enumerate(starts)
        ]


def diffuse(model: Any, prompt_ids: Sequence[int], config: DiffusionConfig) -> list[int]:
    """Generates an answer.

    Args:
        model: A `Decoder` with attention layers only: ids (1, N), cache -> logits (1, N, V).
        prompt_ids: Token ids of the prompt.
        config: Settings.

    Returns:
        The `length` tokens of the answer.

    Raises:
        GenerationError: `mask_id` or an id of the prompt is outside the vocabulary.
    """
    size = size_of(model)
    if size is not None:
        check_ids(prompt_ids, size, "the prompt")
        check_ids([config.mask_id], size, "`mask_id`")
    start = len(prompt_ids)
    ids = mx.array([*prompt_ids, *[config.mask_id] * config.length])
    reading = 0
    for first, end, steps in config.schedule:
        for count in filter(None, _shares(end - first, steps)):
            choices, confidence = _choose(_logits(model, ids, start, config), config, reading)
            place = mx.arange(ids.size)
            is_open = (ids == config.mask_id) & (place >= start + first) & (place < start + end)
            # The rank of each place by confidence among the masks of the block: the first `count` ranks are replaced.
            order = mx.argsort(mx.where(is_open, -confidence, mx.inf))
            ids = mx.where(mx.argsort(order) < count, choices, ids)
            evaluate(ids)
            reading += 1
    return integers(ids[start:])


def _logits(model: Any, ids: Integer[mx.array, " N"], start: int, config: DiffusionConfig) -> Float[mx.array, "N V"]:
    rows = ids[None]
    if config.guidance:
        # Guidance: a second row with a masked prompt gives the unconditional logits.
        without = mx.where(mx.arange(ids.size) < start, config.mask_id, ids)
        rows = mx.stack([ids, without])
    cache = None if config.causal else mask_caches(model, bidirectional_mask(mx.zeros(rows.shape, dtype=mx.int32)))
    logits = model(rows, cache=cache).astype(mx.float32)
    if not config.guidance:
        return logits[0]
    return logits[1] + (config.guidance + 1) * (
        logits[0] - logits[1]
    )  # extrapolates away from the unconditional logits


def _choose(logits: Float[mx.array, "N V"], config: DiffusionConfig, reading: int) -> tuple[mx.array, mx.array]:
    """A token for each place, and its confidence."""
    logits = mx.where(mx.arange(logits.shape[-1]) == config.mask_id, -mx.inf, logits)
    # One key for the tokens and one for the order of places, both a function of seed and step.
    drawing, placing = mx.random.split(position_key(config.seed, reading))
    if config.temperature:
        choices = mx.random.categorical(logits / config.temperature, key=drawing)
    else:
        choices = mx.argmax(logits, axis=-1)
    if config.remasking == "random":
        return choices, mx.random.uniform(shape=choices.shape, key=placing)
    return choices, mx.take_along_axis(mx.softmax(logits, axis=-1), choices[:, None], axis=-1)[:, 0]


def _shares(total: int, steps: int) -> list[int]:
    """Tokens to replace at each step; the remainder goes to the first steps.

    >>> _shares(10, 4)
    [3, 3, 2, 2]
    """
    each, more = divmod(total, steps)
    return [each + (step < more) for step in range(steps)]
