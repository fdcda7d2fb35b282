"""The command `moe specialists`: experts that prefer the texts of a label."""

from typing import Annotated

import typer

from lazarus_introspect.cli.moe.texts import Data, MoELayers, read_texts, show_texts_head
from lazarus_introspect.cli.options import Adapter, Model, Seed, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def specialists(
    model: Model,
    adapter: Adapter = None,
    data: Data = None,
    layers: MoELayers = None,
    rate: Annotated[float, typer.Option("--rate", help="False-discovery rate of a layer, between 0 and 1.")] = 0.05,
    min_support: Annotated[
        int, typer.Option("--min-support", min=1, help="Tokens that an expert needs in all texts.")
    ] = 20,
    permutations: Annotated[
        int, typer.Option("--permutations", min=99, max=1_000_000, help="Shuffle the labels this often.")
    ] = 10_000,
    routers: Annotated[
        int, typer.Option("--routers", min=19, max=100_000, help="Compare with this many random routers.")
    ] = 199,
    details: Annotated[bool, typer.Option("--details", help="Report each expert, with its tokens.")] = False,
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Find experts that prefer the texts of a label, against shuffled labels and random routers.

    Example: -m openai/gpt-oss-20b --layers 12 --details
    """
    from lazarus_core.console import show
    from lazarus_introspect.errors import RequestError
    from lazarus_introspect.experts import IdentifyConfig
    from lazarus_introspect.experts import specialists as find

    if not 0 < rate < 1:
        raise RequestError(f"--rate {rate}: give a number between 0 and 1", "LI-E146")
    config = IdentifyConfig(
        rate=rate, min_support=min_support, permutations=permutations, random_routers=routers, seed=seed
    )
    chosen, texts = parse_numbers(layers), read_texts(data)
    with opened(model, adapter) as analyzer:
        result = find(analyzer, texts, layers=chosen, config=config)
    if outputs.publish(result):
        return
    show_texts_head(result)
    for each in result.layers:
        show("\n" + each.summary())
        if details:
            show("\n" + "\n".join(expert.detailed_report() for expert in each.expert_identities))
