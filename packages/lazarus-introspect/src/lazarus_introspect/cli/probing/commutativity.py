"""The command `commutativity`: whether states of commuted problems are alike."""

from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_introspect.cli.options import Adapter, Layers, Model, Seed, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.probing.options import (
    Permutations,
    Template,
    Values,
    settings_of,
    share_text,
    show_set_head,
)

if TYPE_CHECKING:
    from lazarus_introspect.probing.computation.commuted import CommutativityResult


@writes_result
def commutativity(
    model: Model,
    adapter: Adapter = None,
    operator: Annotated[str, typer.Option("--operator", help="Operator: + or *.")] = "*",
    values: Values = "2-9",
    template: Template = "{a}{op}{b}=",
    layers: Layers = None,
    controls: Annotated[
        int, typer.Option("--controls", min=19, max=42, help="Symbols that take the operator's place as controls.")
    ] = 39,
    permutations: Permutations = 200,
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Test whether `a*b` and `b*a` have like states, beyond what other symbols in place of the operator give.

    Example: -m smollm2-360m
    Example: -m smollm2-360m --operator + --layers 8-15
    """
    from lazarus_introspect.probing import CommutativityConfig
    from lazarus_introspect.probing import commutativity as analysis

    numbers = parse_numbers(layers)
    config = settings_of(
        CommutativityConfig,
        operator=operator,
        values=tuple(parse_numbers(values, "--values") or ()),
        template=template,
        layers=None if numbers is None else tuple(numbers),
        controls=controls,
        permutations=permutations,
        seed=seed,
    )
    with opened(model, adapter) as analyzer:
        result = analysis(analyzer, config)
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "CommutativityResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    own = result.behaviour
    show_set_head(
        result,
        {
            "answers": share_text(own.accuracy),
            "first token": f"equal in {own.agreement:.3f} of commuted pairs, in {own.matched_agreement:.3f} of matched pairs",
            "margins": f"differ by {own.margin_difference:.3f}, in matched pairs by {own.matched_margin_difference:.3f}",
            "controls": f"{len(result.controls)} symbols, p of all sites {result.p:.3f}",
            "conclusion": result.conclusion,
        },
    )
    rows = [["site", "advantage", "AUC", "p", "(controls)", "(largest)", "p controls"]]
    for each in result.sites:
        figures = (each.advantage, each.auc, each.p, each.control_mean, each.control_high, each.control_p)
        rows.append([each.site, *(f"{value:.3f}" for value in figures)])
    show("\n" + aligned(rows, right=range(1, 7)))
    show("\nadvantage: cosine of commuted pairs minus that of pairs that share one operand")
