"""Generation with a masked-diffusion model: masks are replaced where the model is most confident (LLaDA, arXiv 2502.09992).

B = rows, N = tokens of prompt and answer, P = tokens of the prompt, V = vocabulary
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Callable, Sequence
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
    # Guidance of texts compares with a masked prompt (LLaDA).
    unguided = [[config.mask_id] * len(prompt_ids)] if config.guidance else None

    def keys(reading: int) -> list[mx.array]:
        return [position_key(config.seed, reading)]

    return diffuse_rows(model, [prompt_ids], config, keys, unguided=unguided, scale=config.guidance + 1)[0]


def diffuse_rows(
    model: Any,
    prompts: Sequence[Sequence[int]],
    config: DiffusionConfig,
    keys: Callable[[int], Sequence[mx.array]],
    *,
    unguided: Sequence[Sequence[int]] | None = None,
    scale: float = 1.0,
    vocabulary: int | None = None,
) -> list[list[int]]:
    """Generates one answer for each of several prompts of the same length.

    Args:
        model: A `Decoder` with attention layers only: ids (B, N), cache -> logits (B, N, V).
        prompts: Token ids of the prompts, at least one.
        config: Settings; `seed` and `guidance` have no effect, since `keys` and `scale` decide.
        keys: Gives the random key of each row, from the number of the forward pass.
        unguided: For each row, the prompt whose logits guidance leads away from, as long as the row's own; None for
            no guidance.
        scale: Strength of guidance: 0 gives the logits of `unguided`, 1 those of the prompts.
        vocabulary: Answers contain ids below it only; None allows every id but the mask.

    Returns:
        The `length` tokens of each answer.

    Raises:
        GenerationError: `mask_id` or an id of a prompt is outside the vocabulary.
    """
    size = size_of(model)
    if size is not None:
        for ids in (*prompts, *(unguided or ())):
            check_ids(ids, size, "the prompt")
        check_ids([config.mask_id], size, "`mask_id`")
    start = len(prompts[0])
    ids = mx.array([[*prompt, *[config.mask_id] * config.length] for prompt in prompts])
    other = None if unguided is None else mx.array(list(map(list, unguided)))
    place = mx.arange(ids.shape[1])
    reading = 0
    for first, end, steps in config.schedule:
        for count in filter(None, _shares(end - first, steps)):
            logits = _logits(model, ids, other, scale, causal=config.causal)
            choices, confidence = _choose(logits, config, keys(reading), vocabulary)
            is_open = (ids == config.mask_id) & (place >= start + first) & (place < start + end)
            # The rank of each place by confidence among the masks of the block: the first `count` ranks are replaced.
            order = mx.argsort(mx.where(is_open, -confidence, mx.inf), axis=-1)
            ids = mx.where(mx.argsort(order, axis=-1) < count, choices, ids)
            evaluate(ids)
            reading += 1
    return [integers(row[start:]) for row in ids]


def _logits(
    model: Any, ids: Integer[mx.array, "B N"], unguided: Integer[mx.array, "B P"] | None, scale: float, *, causal: bool
) -> Float[mx.array, "B N V"]:
    rows, count = ids, ids.shape[0]
    if unguided is not None:
        # Guidance: more rows, with the other prompts, give the unconditional logits.
        rows = mx.concatenate([ids, mx.concatenate([unguided, ids[:, unguided.shape[1] :]], axis=1)])
    cache = None if causal else mask_caches(model, bidirectional_mask(mx.zeros(rows.shape, dtype=mx.int32)))
    logits = model(rows, cache=cache).astype(mx.float32)
    if unguided is None:
        return logits
    without = logits[count:]
    return without + scale * (logits[:count] - without)  # above 1, extrapolates away from the unconditional logits


def _choose(
    logits: Float[mx.array, "B N V"], config: DiffusionConfig, keys: Sequence[mx.array], vocabulary: int | None
) -> tuple[mx.array, mx.array]:
    """A token for each place, and its confidence, (B, N)."""
    token = mx.arange(logits.shape[-1])
    is_banned = token == config.mask_id
    if vocabulary is not None:
        is_banned = is_banned | (token >= vocabulary)
    logits = mx.where(is_banned, -mx.inf, logits)
    # For each row, one key for the tokens and one for the order of places.
    drawing, placing = zip(*(mx.random.split(key) for key in keys), strict=True)
    if config.temperature:
        drawn = [
            mx.random.categorical(row / config.temperature, key=key) for row, key in zip(logits, drawing, strict=True)
        ]
        choices = mx.stack(drawn)
    else:
        choices = mx.argmax(logits, axis=-1)
    if config.remasking == "random":
        return choices, mx.stack([mx.random.uniform(shape=(logits.shape[1],), key=key) for key in placing])
    return choices, mx.take_along_axis(mx.softmax(logits, axis=-1), choices[..., None], axis=-1)[..., 0]


def _shares(total: int, steps: int) -> list[int]:
    """Tokens to replace at each step; the remainder goes to the first steps.

    >>> _shares(10, 4)
    [3, 3, 2, 2]
    """
    each, more = divmod(total, steps)
    return [each + (step < more) for step in range(steps)]
