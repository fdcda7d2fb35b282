"""Images drawn by a model of image tokens: by masked diffusion, or pixel by pixel.

Guidance (arXiv 2207.12598) mixes the logits with a label, c, and without one, u: u + scale (c - u). Scale 0 ignores the
label, 1 is the plain conditional model, and larger scales make images more typical of their label.

B = images, H = height, W = width, N = tokens, V = vocabulary
"""

# ruff: noqa: F722 (axes in jaxtyping's strings are not Python)
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

from lazarus_models.backend import mx
from lazarus_models.errors import GenerationError
from lazarus_models.generation.diffusion import DiffusionConfig, diffuse_rows
from lazarus_models.generation.sampling import position_key
from lazarus_models.loading.loaded_model import LoadedModel
from lazarus_models.trees import evaluate
from lazarus_models.vocabulary import check_ids
from lazarus_tokenkit.images import decode_pixels, prompt_ids
from lazarus_tokenkit.tokenizers import PixelFormat, pixel_format

STEPS = 64
"""Forward passes by default, or one a pixel if an image has fewer."""
MAX_IMAGES = 1 << 16
"""Most images of one call."""
_TOO_LONG, _COUNT = "LM-E550", "LM-E551"
_SCORES = 1 << 22
"""Attention scores of a head that a forward pass computes at once: they bound its memory."""
_MAX_ROWS = 64
"""Most images of a forward pass."""


class ImageConfig(BaseModel):
    """Settings of drawing images."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    method: Literal["diffusion", "next-token"] = "diffusion"
    """How the model was trained: masked diffusion, or next-token prediction."""
    steps: PositiveInt | None = None
    """Forward passes of masked diffusion; None for 64, or one a pixel if an image has fewer."""
    guidance_scale: NonNegativeFloat = 1.0
    """Strength of the label: 0 ignores it, 1 is the plain model."""
    temperature: NonNegativeFloat = 1.0
    """Divisor of the logits; 0 takes the most likely level."""
    remasking: Literal["low_confidence", "random"] = "random"
    """Which pixels masked diffusion decides first: random ones, or those with the most confident choice."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Random seed. Image i depends on the seed and i."""


def draw_images(lm: LoadedModel, labels: Sequence[int | None], config: ImageConfig | None = None) -> NDArray[np.uint8]:
    """Draws one image for each label.

    Args:
        lm: A model with a tokenizer of images, trained on their rows.
        labels: Label of each image; None for no label.
        config: Settings.

    Returns:
        Grey values, (B, H, W).

    Raises:
        TokenizerError: The tokenizer is not one of images.
        SampleError: The tokenizer has no such label.
        GenerationError: An image is longer than the model's context, or there are too many images or none.
        UnsupportedModel: Masked diffusion, and the model has layers with a state.
    """
    config = config or ImageConfig()
    pixels = pixel_format(lm.tokenizer)
    check_images(lm, pixels, labels)
    prompts = [prompt_ids(pixels, label if config.guidance_scale else None) for label in labels]
    rows = max(1, min(_MAX_ROWS, _SCORES // pixels.length**2))
    draw = _by_masks if config.method == "diffusion" else _by_pixels
    drawn: list[list[int]] = []
    for first in range(0, len(labels), rows):
        drawn += draw(lm.model, pixels, prompts[first : first + rows], first, config)
    return np.stack([decode_pixels(pixels, ids) for ids in drawn])


def check_images(lm: LoadedModel, pixels: PixelFormat, labels: Sequence[int | None]) -> None:
    """Refuses images that a model cannot draw.

    Args:
        lm: The model.
        pixels: Format of the images.
        labels: Label of each image.

    Raises:
        SampleError: The format has no such label.
        GenerationError: An image is longer than the model's context, or there are too many images or none.
    """
    if not 1 <= len(labels) <= MAX_IMAGES:
        raise GenerationError(f"{len(labels):,} images: give 1 to {MAX_IMAGES:,}", _COUNT)
    context = lm.config.max_position_embeddings
    if context is not None and pixels.length > context:
        raise GenerationError(
            f"an image has {pixels.length:,} tokens, but the model's context is {context:,}: use a model of a longer"
            " context, or smaller images",
            _TOO_LONG,
        )
    for label in labels:
        check_ids(prompt_ids(pixels, label), lm.config.vocab_size, "the prompt")


def _by_masks(
    model: Any, pixels: PixelFormat, prompts: list[list[int]], first: int, config: ImageConfig
) -> list[list[int]]:
    """The levels of some images, by masked diffusion."""
    steps = min(config.steps or STEPS, pixels.pixels)  # more steps than pixels would decide none
    settings = DiffusionConfig(
        mask_id=pixels.mask_id,
        length=pixels.pixels,
        block=pixels.pixels,
        steps=steps,
        temperature=config.temperature,
        remasking=config.remasking,
    )
    return diffuse_rows(
        model,
        prompts,
        settings,
        _keys(config.seed, range(first, first + len(prompts)), steps),
        unguided=_unguided(pixels, prompts, config),
        scale=config.guidance_scale,
        vocabulary=pixels.levels,
    )


def _by_pixels(
    model: Any, pixels: PixelFormat, prompts: list[list[int]], first: int, config: ImageConfig
) -> list[list[int]]:
    """The levels of some images, each from the pixels before it."""
    count = len(prompts)
    unguided = _unguided(pixels, prompts, config)
    new = mx.array([*prompts, *(unguided or ())])
    keys = _keys(config.seed, range(first, first + count), pixels.pixels)
    cache = model.make_cache()
    levels: list[mx.array] = []
    for place in range(pixels.pixels):
        logits = model(new, cache=cache)[:, -1].astype(mx.float32)[:, : pixels.levels]
        if unguided is not None:
            logits = _guided(logits[:count], logits[count:], config.guidance_scale)
        level = _drawn(logits, config.temperature, keys(place))
        evaluate(level)
        levels.append(level)
        new = (level if unguided is None else mx.concatenate([level, level]))[:, None]
    found: Any = mx.stack(levels, axis=1).tolist()
    return found


def _drawn(logits: Float[mx.array, "B V"], temperature: float, keys: Sequence[mx.array]) -> mx.array:
    if not temperature:
        return mx.argmax(logits, axis=-1)
    return mx.stack([mx.random.categorical(row / temperature, key=key) for row, key in zip(logits, keys, strict=True)])


def _guided(labelled: mx.array, unlabelled: mx.array, scale: float) -> mx.array:
    return unlabelled + scale * (labelled - unlabelled)


def _unguided(pixels: PixelFormat, prompts: list[list[int]], config: ImageConfig) -> list[list[int]] | None:
    """The prompts without label; None if one forward pass gives the logits."""
    return None if config.guidance_scale in (0, 1) else [prompt_ids(pixels, None)] * len(prompts)


def _keys(seed: int, images: range, steps: int) -> Callable[[int], list[mx.array]]:
    """Gives the key of each image at a step. It depends on the seed, the number of the image and the step."""
    by_image = [mx.random.split(position_key(seed, image), steps) for image in images]
    return lambda step: [keys[step] for keys in by_image]
