"""The options and the work of `infer` with a masked-diffusion model."""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from lazarus_core.commands import shared_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from lazarus_models.generation.autoregressive import Generation
    from lazarus_models.generation.diffusion import DiffusionConfig
    from lazarus_models.generation.sampling import GenerationConfig
    from lazarus_models.loading.loaded_model import LoadedModel
    from lazarus_tokenkit import Message

Remasking = Literal["low_confidence", "random"]
_SUPPORTED = ("temperature", "seed", "stop")
"""Options of sampling that masked diffusion has too."""
_BLOCK = 32


class Masks(NamedTuple):
    """Options of masked diffusion; None or false for one that was not given."""

    total_length: int | None
    mask_token: str | None
    steps: int | None
    block: int | None
    remasking: Remasking | None
    guidance: float | None
    causal: bool

    @property
    def is_given(self) -> bool:
        """Whether the model is a masked-diffusion model."""
        return any(value not in (None, False) for value in self)


def _masks(
    total_length: Annotated[
        int | None,
        typer.Option(
            "--total-length", min=2, help="Masked diffusion: make prompt and answer this many tokens long together."
        ),
    ] = None,
    mask_token: Annotated[
        str | None,
        typer.Option(
            "--mask-token",
            metavar="ID|TEXT",
            help="Masked diffusion: the mask that the model was trained with [default: mask_token_id of its config.json].",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Masked diffusion: forward passes for an answer [default: one a token]."),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option("--block", min=1, help=f"Masked diffusion: finish this many tokens first [default: {_BLOCK}]."),
    ] = None,
    remasking: Annotated[
        Remasking | None,
        typer.Option("--remasking", help="Masked diffusion: order of the replaced masks [default: low_confidence]."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", min=0.0, help="Masked diffusion: strength of classifier-free guidance."),
    ] = None,
    causal: Annotated[
        bool, typer.Option("--causal", help="Masked diffusion: for a model trained with causal attention.")
    ] = False,
) -> Masks:
    return Masks(total_length, mask_token, steps, block, remasking, guidance, causal)


with_masks = shared_options("masks", _masks)
"""Adds the options of masked diffusion to a command, which receives their values as `masks`."""


def check_drawing(drawing: Mapping[str, Any], config: "GenerationConfig") -> None:
    """Refuses options of sampling that have no effect on masked diffusion.

    Args:
        drawing: The options of sampling.
        config: The settings that they make; a setting of its default value is not refused.

    Raises:
        GenerationError: An option has no effect.
    """
    defaults = type(config).model_fields
    for name in drawing.keys() - set(_SUPPORTED):
        if getattr(config, name) != defaults[name].default:
            raise refusal(f"`--{name.replace('_', '-')}` has no effect on masked diffusion; remove it")


def diffuse_all(
    lm: "LoadedModel",
    prompts: "Sequence[str | Sequence[Message]]",
    masks: Masks,
    drawing: Mapping[str, Any],
    *,
    max_tokens: int,
    raw: bool,
    on_done: "Callable[[int, Generation], object]",
) -> "list[Generation]":
    """Answers prompts one after the other. All lengths are checked before the first answer.

    Args:
        lm: The model.
        prompts: Texts or conversations.
        masks: Options of masked diffusion.
        drawing: Options of sampling.
        max_tokens: Tokens of an answer if no total length was given.
        raw: Continue texts without a chat template.
        on_done: Called with the number of a prompt and its answer.
    """
    from lazarus_models.generation.diffusion_text import answer_length, generate_diffusion

    total = masks.total_length
    with _in_options():
        lengths = [max_tokens if total is None else answer_length(lm, each, total, raw=raw) for each in prompts]
        configs = [
            diffusion_config(lm, length, masks, temperature=drawing["temperature"], seed=drawing["seed"])
            for length in lengths
        ]
        found: list[Generation] = []
        for number, (each, config) in enumerate(zip(prompts, configs, strict=True)):
            found.append(generate_diffusion(lm, each, config, raw=raw, stop=drawing["stop"]))
            on_done(number, found[-1])
    return found


def diffusion_config(lm: "LoadedModel", length: int, masks: Masks, **drawing: Any) -> "DiffusionConfig":
    """The settings of masked diffusion.

    Args:
        lm: The model, whose config may name the mask.
        length: Tokens of the answer.
        masks: Options of masked diffusion.
        drawing: `temperature` and `seed`, if they are not the defaults.

    Raises:
        GenerationError: The mask is unknown, or a value is invalid.
    """
    from pydantic import ValidationError

    from lazarus_models.config.huggingface import in_words
    from lazarus_models.generation.diffusion import DiffusionConfig
    from lazarus_models.generation.diffusion_text import mask_token

    given = {name: getattr(masks, name) for name in ("remasking", "guidance") if getattr(masks, name) is not None}
    with _in_options():
        try:
            return DiffusionConfig(
                mask_id=mask_token(lm, masks.mask_token),
                length=length,
                block=min(masks.block or _BLOCK, length),
                steps=masks.steps or length,
                causal=masks.causal,
                **given,
                **drawing,
            )
        except ValidationError as error:
            raise refusal(in_words(error)) from error


@contextlib.contextmanager
def _in_options() -> Generator[None]:
    """Names options in errors in place of fields."""
    from lazarus_models.errors import GenerationError

    try:
        yield
    except GenerationError as error:
        words = error.message
        for name in ("total_length", "mask_token", "steps"):
            words = words.replace(f"`{name}`", f"`--{name.replace('_', '-')}`")
        raise GenerationError(words, error.code) from error


def refusal(words: str) -> Exception:
    """An error of options that contradict each other."""
    from lazarus_models.errors import GenerationError

    return GenerationError(words, "LM-E144")
