"""The command `moe vocab-contrib`: tokens that each expert makes more probable."""

from typing import Annotated

import typer

from lazarus_introspect.cli.moe.texts import Data, MoELayers, read_texts, show_texts_head
from lazarus_introspect.cli.options import Adapter, Model, opened, parse_numbers, quoted
from lazarus_introspect.cli.outputs import Outputs, writes_result

_SHOWN = 6


@writes_result
def vocab_contrib(
    model: Model,
    adapter: Adapter = None,
    data: Data = None,
    layers: MoELayers = None,
    top_k: Annotated[
        int, typer.Option("-k", "--top-k", min=1, max=1000, help="Tokens of each expert in the JSON output.")
    ] = 10,
    *,
    outputs: Outputs,
) -> None:
    """List the tokens whose logits each expert raises directly.

    Example: -m openai/gpt-oss-20b --layers 12 --top-k 30
    """
    from lazarus_core.console import show
    from lazarus_introspect.experts import vocabulary
    from lazarus_tokenkit.tables import aligned

    chosen, texts = parse_numbers(layers), read_texts(data)
    with opened(model, adapter) as analyzer:
        result = vocabulary(analyzer, texts, layers=chosen, top_k=top_k)
    if outputs.publish(result):
        return
    show_texts_head(result)
    for layer in result.layers:
        rows = [["expert", "tokens", "consistency", "(random)", "raised tokens"]]
        for each in layer.experts:
            raised = ", ".join(f"{quoted(own.token)} {own.logit:+.2f}" for own in each.raised[:_SHOWN])
            figures = (f"{each.consistency:.3f}", f"{each.consistency_baseline:.3f}")
            rows.append([str(each.expert), f"{each.tokens:,}", *figures, raised])
        show(f"\nlayer {layer.layer}\n" + aligned(rows, right=range(4)))
    show(
        "\nlogits of the mean output above the mean of the vocabulary; consistency: how far the mean stands for each output"
    )
