"""The command `moe compression`: experts that compute nearly the same."""

from typing import Annotated

import typer

from lazarus_introspect.cli.moe.texts import Data, MoELayers, read_texts, show_texts_head
from lazarus_introspect.cli.options import Adapter, Model, Seed, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def compression(
    model: Model,
    adapter: Adapter = None,
    data: Data = None,
    layers: MoELayers = None,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Least mean cosine of the outputs of similar experts, up to 1.")
    ] = 0.8,
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Find experts that compute nearly the same, and could be merged.

    Example: -m openai/gpt-oss-20b --threshold 0.8
    """
    from lazarus_core.console import show
    from lazarus_introspect.errors import RequestError
    from lazarus_introspect.experts import similarity
    from lazarus_tokenkit.tables import aligned

    if not 0 < threshold <= 1:
        raise RequestError(f"--threshold {threshold}: give a number above 0 and at most 1", "LI-E146")
    chosen, texts = parse_numbers(layers), read_texts(data)
    with opened(model, adapter) as analyzer:
        result = similarity(analyzer, texts, layers=chosen, threshold=threshold, seed=seed)
    if outputs.publish(result):
        return
    show_texts_head(result)
    rows = [
        [
            "layer",
            "experts",
            "after merging",
            "unused",
            "similar groups",
            "most similar pair",
            "cosine",
            "(other tokens)",
        ]
    ]
    for each in result.layers:
        pairs = [(value, i, j) for i, row in enumerate(each.similarity) for j, value in enumerate(row) if i < j]
        value, one, two = max(pairs, default=(0.0, 0, 0))
        groups = "  ".join(",".join(map(str, group)) for group in each.groups) or "none"
        figures = (f"{value:.3f}", f"{each.baseline[one][two]:.3f}")
        counts = (each.layer, each.num_experts, each.num_merged, len(each.unused))
        rows.append([*map(str, counts), groups, f"{one},{two}", *figures])
    show("\n" + aligned(rows, right=[0, 1, 2, 3, 6, 7]))
    show("\ncosine: mean over tokens of the outputs for the same token; (other tokens): for different tokens")
