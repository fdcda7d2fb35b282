"""The command `moe co-activation`: experts that are used by the same tokens."""

from typing import Annotated

import typer

from lazarus_introspect.cli.moe.texts import Data, MoELayers, read_texts, show_texts_head
from lazarus_introspect.cli.options import Adapter, Model, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def co_activation(
    model: Model,
    adapter: Adapter = None,
    data: Data = None,
    layers: MoELayers = None,
    top: Annotated[int, typer.Option("--top", min=1, help="List this many pairs of each layer.")] = 10,
    *,
    outputs: Outputs,
) -> None:
    """List the experts that the same tokens use.

    Example: -m openai/gpt-oss-20b --layers 12
    """
    from lazarus_core.console import show
    from lazarus_introspect.experts import coactivated
    from lazarus_tokenkit.tables import aligned

    chosen, texts = parse_numbers(layers), read_texts(data)
    with opened(model, adapter) as analyzer:
        result = coactivated(analyzer, texts, layers=chosen)
    if outputs.publish(result):
        return
    show_texts_head(result)
    for each in result.layers:
        rows = [["expert", "also uses", "rate", "lift", "tokens"]]
        for one, two, rate in each.strongest(top):
            lift = each.lift[one][two]
            count = each.counts[one][two]
            rows.append([str(one), str(two), f"{rate:.3f}", "-" if lift is None else f"{lift:.2f}", f"{count:,}"])
        show(f"\nlayer {each.layer}: rate of a random router {each.baseline:.3f}")
        show(aligned(rows, right=range(5)))
