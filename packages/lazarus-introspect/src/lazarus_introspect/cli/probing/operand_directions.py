"""The command `operand-directions`: how states depend on the operands of a problem."""

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
    from lazarus_introspect.probing.computation.operands import OperandsResult


@writes_result
def operand_directions(
    model: Model,
    adapter: Adapter = None,
    operator: Annotated[str, typer.Option("--operator", help="Operator: +, - or *.")] = "*",
    values: Values = "2-9",
    template: Template = "{a}{op}{b}=",
    layers: Layers = None,
    permutations: Permutations = 200,
    seed: Seed = 0,
    *,
    outputs: Outputs,
) -> None:
    """Split the states of arithmetic problems by their operands, and test whether the states order the values.

    Example: -m smollm2-360m
    Example: -m smollm2-360m --operator + --values 10-29 --layers 8-15
    """
    from lazarus_introspect.probing import OperandsConfig
    from lazarus_introspect.probing import operand_directions as analysis

    numbers = parse_numbers(layers)
    config = settings_of(
        OperandsConfig,
        operator=operator,
        values=tuple(parse_numbers(values, "--values") or ()),
        template=template,
        layers=None if numbers is None else tuple(numbers),
        permutations=permutations,
        seed=seed,
    )
    with opened(model, adapter) as analyzer:
        result = analysis(analyzer, config)
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "OperandsResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    show_set_head(result, {"answers": share_text(result.accuracy), "conclusion": result.conclusion})
    rows = [["site", "left", "right", "interaction", "(shuffled)", "cosine", "(random)"]]
    for each in result.sites:
        figures = (each.left_share, each.right_share, each.interaction_share, each.shuffled_interaction)
        rows.append([each.site, *(f"{value:.3f}" for value in (*figures, each.cosine, each.random_cosine))])
    show(
        "\nshares of variance, and mean squared cosine between the spans of the operands\n"
        + aligned(rows, right=range(1, 7))
    )
    head = [
        "site",
        "operand",
        "value R2",
        "(shuffled)",
        "(one-hot)",
        "q",
        "p one-hot",
        "identity",
        "(chance)",
        "(one-hot)",
    ]
    rows = [head]
    for site in result.sites:
        for each in site.operands:
            lexical = [each.lexical_r2, each.lexical_p, each.identity_lexical]
            words = ["-" if value is None else f"{value:.3f}" for value in lexical]
            row = [f"{each.value_r2:.3f}", f"{each.shuffled_r2:.3f}", words[0], f"{each.q:.3f}", words[1]]
            row += [f"{each.identity_accuracy:.3f}", f"{each.identity_chance:.3f}", words[2]]
            rows.append([site.site, each.operand, *row])
    show("\nprobes at operands that they were not fitted to\n" + aligned(rows, right=range(2, 10)))
