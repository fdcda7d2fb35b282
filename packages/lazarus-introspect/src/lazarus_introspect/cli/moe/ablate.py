"""The command `moe ablate`: the effect of each expert on the next token."""

from typing import Annotated, Literal

import typer

from lazarus_introspect.cli.moe.texts import MoELayers
from lazarus_introspect.cli.options import (
    Adapter,
    Model,
    PromptText,
    Raw,
    opened,
    parse_numbers,
    quoted,
    show_head,
)
from lazarus_introspect.cli.outputs import Outputs, writes_result

ExpertModeOption = Annotated[
    Literal["drop", "renormalise", "reroute"],
    typer.Option(
        "--mode", help="drop: share 0; renormalise: the others take the share; reroute: another expert is chosen."
    ),
]


@writes_result
def ablate(
    model: Model,
    prompt: PromptText,
    adapter: Adapter = None,
    layers: MoELayers = None,
    experts: Annotated[
        str | None, typer.Option("--experts", help="Choose experts: 0-3, or 0,5 [default: every expert].")
    ] = None,
    mode: ExpertModeOption = "drop",
    top: Annotated[int, typer.Option("--top", min=1, help="List this many experts, by their effect.")] = 20,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Ablate the experts one by one, and measure the change of the next token.

    Example: -m openai/gpt-oss-20b -p "45 * 45 = " --layers 12 --mode reroute --raw
    """
    from lazarus_core.console import show
    from lazarus_introspect.experts import ablate_experts
    from lazarus_tokenkit.tables import aligned

    chosen, which = parse_numbers(layers), parse_numbers(experts, "--experts")
    with opened(model, adapter) as analyzer:
        result = ablate_experts(analyzer, prompt, layers=chosen, experts=which, mode=mode, raw=raw)
    if outputs.publish(result):
        return
    show_head(result, {"prediction": quoted(result.predicted), "mode": mode})
    rows = [["layer", "expert", "tokens", "KL", "log p", "next token"]]
    ordered = sorted(result.experts, key=lambda each: (-each.kl, each.layer, each.expert))
    for each in ordered[:top]:
        token = quoted(each.top_token) + (" *" if each.top_changed else "")
        figures = (f"{each.kl:.4f}", f"{each.logprob_change:+.4f}")
        rows.append([str(each.layer), str(each.expert), str(each.used), *figures, token])
    show("\n" + aligned(rows, right=range(5)))
    show("\ntokens: of the prompt that chose the expert; KL and log p in nats; *: another token than the prediction")
