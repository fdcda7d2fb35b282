"""The command `moe utilisation`: how evenly texts use the experts."""

from lazarus_introspect.cli.moe.texts import Data, MoELayers, read_texts, show_texts_head
from lazarus_introspect.cli.options import Adapter, Model, Seed, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result

_BAR = 24


@writes_result
def utilisation(
    model: Model,
    adapter: Adapter = None,
    data: Data = None,
    layers: MoELayers = None,
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Measure how evenly texts use the experts of each layer, and how certain the router is.

    Example: -m openai/gpt-oss-20b --layers 0,12
    """
    from lazarus_core.console import show
    from lazarus_introspect.experts import utilisation as measure
    from lazarus_tokenkit.tables import aligned

    chosen, texts = parse_numbers(layers), read_texts(data)
    with opened(model, adapter) as analyzer:
        result = measure(analyzer, texts, layers=chosen, seed=seed)
    if outputs.publish(result):
        return
    show_texts_head(result)
    head = ["layer", "load balance", "(random)", "effective", "CV", "MaxVio", "dead", "Switch loss", "router entropy"]
    rows = [[*head, "same expert next", "(shuffled)", "p"]]
    for each in result.layers:
        own, again = each.utilization, each.repetition
        figures = (own.load_balance_score, own.load_balance_baseline)
        more = (own.coefficient_of_variation, own.max_violation)
        rows.append(
            [
                str(own.layer),
                *(f"{value:.3f}" for value in figures),
                f"{own.effective_experts:.1f} of {own.num_experts}",
                *(f"{value:.2f}" for value in more),
                f"{own.dead_share:.0%}",
                f"{own.switch_loss:.3f}",
                f"{each.entropy.normalized_entropy:.3f}",
                *(["-"] * 3 if again is None else [f"{again.any:.3f}", f"{again.any_shuffled:.3f}", f"{again.p:.3f}"]),
            ]
        )
    show("\n" + aligned(rows, right=range(len(rows[0]))))
    for each in result.layers:
        own = each.utilization
        largest = max(own.shares)
        bars = [
            [str(expert), f"{share:.1%}", "#" * round(_BAR * share / largest)]
            for expert, share in enumerate(own.shares)
        ]
        show(f"\nlayer {own.layer}\n" + aligned([["expert", "share", ""], *bars], right=[0, 1]))
