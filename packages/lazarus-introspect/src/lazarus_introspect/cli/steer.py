"""The command `steer`: generation with a direction added to one layer."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lazarus_introspect.cli.options import (
    Adapter,
    MaxTokens,
    Model,
    PromptText,
    Raw,
    opened,
    quoted,
    show_head,
)
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def steer(
    model: Model,
    prompt: PromptText,
    positive: Annotated[
        list[str] | None, typer.Option("--positive", help="Prompt with the property; repeat for several.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option("--negative", help="Prompt without it; repeat for several.")
    ] = None,
    layer: Annotated[int | None, typer.Option("--layer", min=0, help="Steer the stream after this layer.")] = None,
    direction: Annotated[
        Path | None, typer.Option("--direction", help="Steer by this direction, which `probe -o` wrote, at its site.")
    ] = None,
    adapter: Adapter = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", help="Strength; negative for the opposite [default: 4].")
    ] = None,
    mode: Annotated[
        Literal["add", "keep_norm", "remove"],
        typer.Option("--mode", help="Add the direction, add it and keep the norm, or remove it."),
    ] = "add",
    where: Annotated[
        Literal["all", "generated"], typer.Option("--where", help="Steer every token, or generated ones only.")
    ] = "all",
    max_tokens: MaxTokens = 32,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Steer a generation by the difference of means of two sets of prompts, or by a direction.

    Example: -m smollm2-360m -p "I feel" --positive "I am happy" --negative "I am sad" --layer 12 --alpha 4
    Example: -m smollm2-360m -p "I feel" --direction happy.json --alpha 8
    """
    from lazarus_core.console import show_line
    from lazarus_introspect.causal import load_direction
    from lazarus_introspect.errors import RequestError

    if alpha is not None and mode == "remove":
        raise RequestError("--alpha has no effect with --mode remove: remove one of them", "LI-E146")
    found = None if direction is None else load_direction(direction)
    with opened(model, adapter) as analyzer:
        result = analyzer.steer(
            prompt,
            positive or (),
            negative or (),
            layer=layer,
            direction=found,
            alpha=4.0 if alpha is None else alpha,
            mode=mode,
            where=where,
            max_new_tokens=max_tokens,
            raw=raw,
        )
    if outputs.publish(result):
        return
    norms = f"{result.vector_norm:.3f}, the stream's {result.stream_norm:.3f}"
    strength = "" if mode == "remove" else f", alpha {result.alpha:g}"
    show_head(result, {"site": f"{result.site}, {result.mode}{strength}", "norm of the vector": norms})
    show_line(f"original  {quoted(result.original, 200)}")
    show_line(f"steered   {quoted(result.steered, 200)}")
    show_line(f"KL of the first new token  {result.kl:.4f} nats")
