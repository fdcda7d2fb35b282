"""The command `arithmetic`: accuracy of each layer on seeded problems."""

from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_introspect.cli.options import Adapter, Model, Seed, opened, parse_numbers
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.probing.options import Template, settings_of, share_text, show_set_head, texts

if TYPE_CHECKING:
    from lazarus_introspect.probing.computation.layer_accuracy import ArithmeticResult


@writes_result
def arithmetic(
    model: Model,
    adapter: Adapter = None,
    operators: Annotated[str, typer.Option("--operators", help="Operators, comma-separated.")] = "+,-,*",
    digits: Annotated[str, typer.Option("--digits", help="Digits of both operands: 1-3, or 1,2.")] = "1-2",
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, max=1000, help="Problems for each operator and number of digits.")
    ] = 40,
    template: Template = "{a}{op}{b}=",
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Measure arithmetic by operator, digits and layer, and where the answer emerges.

    Example: -m smollm2-360m
    Example: -m smollm2-360m --operators + --digits 1-3 -n 100 --template "{a} {op} {b} ="
    """
    from lazarus_introspect.probing import ArithmeticConfig
    from lazarus_introspect.probing import arithmetic as analysis

    config = settings_of(
        ArithmeticConfig,
        operators=tuple(texts(operators, "--operators")),
        digits=tuple(parse_numbers(digits, "--digits") or ()),
        count=count,
        template=template,
        seed=seed,
    )
    with opened(model, adapter) as analyzer:
        result = analysis(analyzer, config)
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "ArithmeticResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    found = result.emergence
    emerges = "no answer is right"
    if found is not None:
        quartiles = f"{found.lower_quartile:g} and {found.upper_quartile:g}"
        emerges = f"layer {found.median:g} (quartiles {quartiles}, from {found.first} to {found.last}), {found.problems} problems"
    show_set_head(
        result, {"answers": share_text(result.overall), "emergence": emerges, "conclusion": result.conclusion}
    )
    head = ["right", "of", "accuracy", "low", "high", "baseline", "p"]
    rows = [["operator", "digits", *head, "q"]]
    for each in result.cells:
        share = each.accuracy
        figures = (share.share, share.low, share.high, share.baseline, share.p, each.q)
        rows.append(
            [
                each.operator,
                str(each.digits),
                str(share.right),
                str(share.total),
                *(f"{value:.3f}" for value in figures),
            ]
        )
    show("\n" + aligned(rows, right=range(1, 10)))
    rows = [["layer", *head]]
    for layer, share in enumerate(result.layers):
        figures = (share.share, share.low, share.high, share.baseline, share.p)
        rows.append([str(layer), str(share.right), str(share.total), *(f"{value:.3f}" for value in figures)])
    show("\n" + aligned(rows, right=range(8)))
    show("\nbaseline: a constant answer or a copied operand, the better one for each operator")
