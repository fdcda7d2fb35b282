"""The command `patch`: activation patching between two prompts."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_introspect.cli.options import (
    Adapter,
    Layers,
    Model,
    Raw,
    opened,
    parse_numbers,
    quoted,
    show_head,
)
from lazarus_introspect.cli.outputs import Outputs, show_pictures, writes_result

if TYPE_CHECKING:
    from lazarus_introspect.analysis import PatchResult

Site = Literal[
    "resid_pre",
    "resid_mid",
    "resid_post",
    "mixer_out",
    "attn_out",
    "mlp_out",
    "mlp.post",
    "attn.z",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.rot_q",
    "attn.rot_k",
    "attn.pattern",
]


@writes_result
def patch(
    model: Model,
    source: Annotated[str, typer.Option("--source", help="Prompt with the behaviour (clean).")],
    target: Annotated[str, typer.Option("--target", help="Prompt without it (corrupt), of as many tokens.")],
    adapter: Adapter = None,
    positive: Annotated[
        str | None, typer.Option("--positive", help="Token that the source predicts [default: its prediction].")
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", help="Token that the target predicts [default: its prediction].")
    ] = None,
    site: Annotated[Site, typer.Option("--site", help="Patch this activation of each layer.")] = "resid_pre",
    direction: Annotated[
        Literal["denoise", "noise"],
        typer.Option("--direction", help="denoise: source into target; noise: target into source."),
    ] = "denoise",
    layers: Layers = None,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Patch activations of one prompt into another, and measure the difference of two logits.

    Example: -m smollm2-360m --source "7*8=" --target "7+8=" --raw
    """
    with opened(model, adapter) as analyzer:
        result = analyzer.patch(
            source,
            target,
            positive=positive,
            negative=negative,
            kind=site,
            direction=direction,
            layers=parse_numbers(layers),
            raw=raw,
        )
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "PatchResult") -> None:
    pair = f"{quoted(result.positive.text)} - {quoted(result.negative.text)}"
    show_head(
        result,
        {
            "target": quoted("".join(result.corrupt_tokens), 60),
            "difference": f"logit of {pair}: source {result.clean:+.3f}, target {result.corrupt:+.3f}",
        },
    )
    show_pictures(result.pictures())
