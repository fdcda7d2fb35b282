"""The command `compare`: the lenses of two models."""

from typing import Annotated

import typer

from lazarus_introspect.cli.analyze import Step, StrategyOption, TopK, Track, lens_config
from lazarus_introspect.cli.options import (
    Layers,
    PromptText,
    Raw,
    note_tokens,
    opened,
    quoted,
    show_head,
)
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def compare(
    first: Annotated[str, typer.Option("-m1", "--first", help="First model, in the forms of `analyze --model`.")],
    second: Annotated[str, typer.Option("-m2", "--second", help="Second model.")],
    prompt: PromptText,
    track: Track = None,
    layer_strategy: StrategyOption = None,
    layers: Layers = None,
    layer_step: Step = 4,
    top_k: TopK = 5,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Compare what the layers of two models would predict; layers are matched by relative depth.

    Example: -m1 smollm2-360m -m2 tuned -p "Get the weather" --track "get_"
    """
    config = lens_config(layer_strategy, layers, layer_step, track, top_k, raw=raw)
    with opened(first) as one, opened(second) as other:
        result = one.compare(other, prompt, config)
    evolutions = (result.first_result.token_evolutions, result.second_result.token_evolutions)
    for each in evolutions:
        note_tokens(tuple(one.tracked for one in each))
    if outputs.publish(result):
        return
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned, number

    origin = result.second
    show_head(
        result,
        {
            "second": f"{origin.model} ({origin.family}, {origin.parameters:,} parameters, weights {origin.weights[:16]})",
            "agreement": f"{result.agreement:.0%} of {len(result.layers)} layers predict the same text",
            "output JS": "- (other tokenizers)" if result.output_js is None else f"{result.output_js:.4f} nats",
        },
    )
    rows = [["layer", "token", "probability", "layer", "token", "probability", ""]]
    for each in result.layers:
        rows.append(
            [
                *(str(each.first_layer), quoted(each.first.token), number(each.first.probability)),
                *(str(each.second_layer), quoted(each.second.token), number(each.second.probability)),
                "same" if each.is_same else "",
            ]
        )
    show("\n" + aligned(rows, right=[0, 2, 3, 5]))
    if evolutions[0]:
        named = [["token", "rank in the first", "rank in the second", "probability", "probability"]]
        for mine, theirs in zip(*evolutions, strict=True):
            figures = [f"{each.ranks[-1]:,}" for each in (mine, theirs)]
            named.append([quoted(mine.token), *figures, *(number(each.probabilities[-1]) for each in (mine, theirs))])
        show("\n" + aligned(named, right=[1, 2, 3, 4]))
