"""The command `neurons`: neurons that prefer a class of prompts."""

from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_introspect.cli.options import Adapter, Layers, Model, Raw, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.probing.options import Labelled, Pooling, Site, settings_of, show_set_head

if TYPE_CHECKING:
    from lazarus_introspect.probing.findings import NeuronsResult


@writes_result
def neurons(
    model: Model,
    data: Labelled,
    adapter: Adapter = None,
    site: Site = "mlp.post",
    layers: Layers = None,
    pooling: Pooling = "last",
    top: Annotated[int, typer.Option("--top", min=1, help="List at most this many neurons.")] = 50,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Find neurons that tell a class of prompts from the others, corrected for their number.

    Example: -m smollm2-360m -d moods.jsonl --layers 8-15
    """
    from lazarus_introspect.probing import NeuronsConfig, read_labelled, selective_neurons

    numbers = parse_numbers(layers)
    config = settings_of(
        NeuronsConfig,
        site=site,
        layers=None if numbers is None else tuple(numbers),
        pooling=pooling,
        top=top,
        raw=raw,
    )
    labels = read_labelled(data)
    with opened(model, adapter) as analyzer:
        result = selective_neurons(analyzer, labels, config)
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "NeuronsResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    tests = f"{result.tested:,}; p <= 0.05: {result.uncorrected:,}, by chance {result.expected_by_chance:,.0f}"
    show_set_head(result, {"tests": tests, "selective": f"{result.significant:,} with q <= 0.05"})
    if not result.neurons:
        show("\nno neuron is selective")
        return
    rows = [["site", "neuron", "class", "AUC", "mean", "other mean", "p", "q"]]
    for each in result.neurons:
        figures = [f"{value:.3f}" for value in (each.auc, each.mean, each.other_mean)]
        rows.append([each.site, str(each.neuron), each.label, *figures, f"{each.p:.1e}", f"{each.q:.1e}"])
    show("\n" + aligned(rows, right=[1, 3, 4, 5, 6, 7]))
