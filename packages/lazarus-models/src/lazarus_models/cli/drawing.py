"""The options of sampling, which `infer` and `chat` share."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.commands import shared_options

if TYPE_CHECKING:
    from lazarus_models.generation.sampling import GenerationConfig

Drawing = dict[str, Any]


def _drawing(
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="Divide logits by this. 0 takes the most likely token.")
    ] = 0.0,
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, help="Sample from the k most likely tokens. 0 means all tokens.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option("--top-p", max=1.0, help="Sample from the fewest tokens with a total probability of p.")
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            "--min-p", min=0.0, max=1.0, help="Sample from tokens with at least this share of the largest probability."
        ),
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", help="Make earlier tokens less likely (above 1).")
    ] = 1.0,
    frequency_penalty: Annotated[
        float, typer.Option("--frequency-penalty", help="Subtract this from a logit for each occurrence in the text.")
    ] = 0.0,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End the answer before this text.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Use this random seed for sampling.")] = 0,
) -> Drawing:
    return {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "frequency_penalty": frequency_penalty,
        "stop": tuple(stop or ()),
        "seed": seed,
    }


with_drawing = shared_options("drawing", _drawing)
"""Adds the sampling options to a command, which receives their values as `drawing`."""


def generation_config(**settings: Any) -> "GenerationConfig":
    """The settings of generation.

    Raises:
        GenerationError: A value is invalid, or has no effect.
    """
    from pydantic import ValidationError

    from lazarus_models.config.huggingface import in_words
    from lazarus_models.errors import GenerationError
    from lazarus_models.generation.sampling import GenerationConfig

    try:
        return GenerationConfig(**settings)
    except ValidationError as error:
        raise GenerationError(in_words(error), "LM-E144") from error
