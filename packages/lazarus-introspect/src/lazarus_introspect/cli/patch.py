"""The command `patch`: activation patching between two prompts."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_introspect.cli.options import (
    Adapter,
    AsJson,
    Layers,
    Model,
    Raw,
    opened,
    parse_numbers,
    quoted,
    show_head,
    show_json,
)

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
    as_json: AsJson = False,
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
    if as_json:
        show_json(result)
        return
    _show(result)


def _show(result: "PatchResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    pair = f"{quoted(result.positive.text)} - {quoted(result.negative.text)}"
    show_head(
        result,
        {
            "target": quoted("".join(result.corrupt_tokens), 60),
            "difference": f"logit of {pair}: source {result.clean:+.3f}, target {result.corrupt:+.3f}",
        },
    )
    values = result.difference if result.normalised is None else result.normalised
    if result.by == "head":
        head = [f"head {column}" for column in result.columns]
    else:
        read = result.corrupt_tokens if result.direction == "denoise" else result.tokens
        head = [f"{column} {quoted(read[column], 6)}" for column in result.columns]
    rows = [["site", *head]]
    for name, row in zip(result.sites, values, strict=True):
        rows.append([name, *(f"{round(value, 2) + 0.0:+.2f}" for value in row)])
    show("\n" + aligned(rows, right=range(1, len(head) + 1)))
    show(
        "\nthe difference itself: source and target do not differ"
        if result.normalised is None
        else "\n0: as the target, 1: as the source"
    )
