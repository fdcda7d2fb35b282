"""The command `moe route`: the experts of each token of a prompt."""

from typing import Annotated

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

_SHADES = " .:-=+*#%@"
"""From probability 0 to 1."""


@writes_result
def route(
    model: Model,
    prompt: PromptText,
    adapter: Adapter = None,
    layers: MoELayers = None,
    grid: Annotated[bool, typer.Option("--grid/--no-grid", help="Draw the probabilities of all experts.")] = True,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Show which experts each token of a prompt uses.

    Example: -m openai/gpt-oss-20b -p "def fib(n):" --layers 12 --raw
    """
    from lazarus_core.console import show
    from lazarus_introspect.experts import route as route_prompt
    from lazarus_tokenkit.tables import aligned

    chosen = parse_numbers(layers)
    with opened(model, adapter) as analyzer:
        result = route_prompt(analyzer, prompt, layers=chosen, raw=raw)
    if outputs.publish(result):
        return
    show_head(result)
    for each in result.layers:
        show(f"\nlayer {each.layer}: {each.num_experts} experts, router entropy {each.entropy.normalized_entropy:.3f}")
        rows = [["token", "experts and shares", *(["probability of each expert"] if grid else [])]]
        for place, token in enumerate(result.tokens):
            used = "  ".join(
                f"{expert} {share:.2f}" for expert, share in zip(each.experts[place], each.weights[place], strict=True)
            )
            shades = "".join(_SHADES[min(int(value * 10), 9)] for value in each.probabilities[place])
            rows.append([quoted(token), used, *([f"|{shades}|"] if grid else [])])
        show(aligned(rows))
