"""The command `moe pipeline`: how experts of one layer follow those of the layer before."""

from typing import Annotated

import typer

from lazarus_introspect.cli.moe.texts import Data, MoELayers, read_texts, show_texts_head
from lazarus_introspect.cli.options import Adapter, Model, Seed, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def pipeline(
    model: Model,
    adapter: Adapter = None,
    data: Data = None,
    num_prompts: Annotated[
        int | None, typer.Option("--num-prompts", min=1, help="Use at most this many texts [default: all].")
    ] = None,
    layers: MoELayers = None,
    top: Annotated[int, typer.Option("--top", min=1, help="List this many transitions of each pair of layers.")] = 3,
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Measure how the expert of a token in one layer predicts its expert in the next.

    Example: -m openai/gpt-oss-20b --num-prompts 20
    """
    from lazarus_core.console import show
    from lazarus_introspect.experts import pipeline as follow
    from lazarus_tokenkit.tables import aligned

    chosen, texts = parse_numbers(layers), read_texts(data)
    with opened(model, adapter) as analyzer:
        result = follow(analyzer, texts, layers=chosen, count=num_prompts, seed=seed)
    if outputs.publish(result):
        return
    show_texts_head(result)
    rows = [["layers", "information", "(shuffled)", "p", "most common transitions"]]
    for each in result.transitions:
        most = ", ".join(f"{one} -> {two} ({count:,})" for one, two, count in each.common(top))
        figures = (f"{each.information:.3f}", f"{each.shuffled:.3f}", f"{each.p:.3f}")
        rows.append([f"{each.first_layer} -> {each.second_layer}", *figures, most])
    show("\n" + aligned(rows, right=[1, 2, 3]))
    show("\nfirst choices only; information as a share of the entropy of the second layer's choice")
