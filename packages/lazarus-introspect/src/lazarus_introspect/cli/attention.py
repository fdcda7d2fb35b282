"""The command `attention`: patterns of heads, and heads with a known behaviour."""

from typing import Annotated

import typer

from lazarus_introspect.cli.options import (
    Adapter,
    Layers,
    Model,
    PromptText,
    Raw,
    Seed,
    opened,
    parse_numbers,
    quoted,
    show_head,
)
from lazarus_introspect.cli.outputs import Outputs, show_pictures, writes_result


@writes_result
def attention(
    model: Model,
    prompt: PromptText,
    adapter: Adapter = None,
    layers: Layers = None,
    heads: Annotated[
        str | None, typer.Option("--heads", help="Choose heads: 0-3, or 0,5 [default: every head].")
    ] = None,
    detect: Annotated[
        bool,
        typer.Option("--detect", help="Test heads on random repeated tokens: induction, duplicate, previous, sink."),
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Include whole patterns; pictures always do.")] = False,
    seed: Seed = 0,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Describe the attention of each head on a prompt.

    Example: -m smollm2-360m -p "Once upon a time" --layers 3 --detect
    """
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    with opened(model, adapter) as analyzer:
        result = analyzer.attention(
            prompt,
            layers=parse_numbers(layers),
            heads=parse_numbers(heads, "--heads"),
            has_patterns=full or outputs.has_pictures,
            detect=detect,
            seed=seed,
            raw=raw,
        )
    if outputs.publish(result):
        return
    show_head(result)
    rows = [["layer", "head", "entropy", "first", "previous", "own", "sink", "the last token attends to"]]
    for each in result.heads:
        order = sorted(range(len(each.last_row)), key=lambda place, row=each.last_row: -row[place])[:3]
        most = ", ".join(f"{quoted(result.tokens[place])} {each.last_row[place]:.2f}" for place in order)
        figures = (each.entropy, each.first, each.previous, each.own, each.sink)
        rows.append([str(each.layer), str(each.head), *(f"{value:.3f}" for value in figures), most])
    show("\n" + aligned(rows, right=range(7)))
    if full:
        show_pictures(result.pictures()[:1])
    for layer, reason in result.absent.items():
        show(f"layer {layer}: {reason}")
    if result.detected is not None:
        named = [["layer", "head", "kind", "score", "control", "p", "q"]]
        for head in result.detected:
            figures = [f"{value:.3f}" for value in (head.score, head.control)]
            named.append([str(head.layer), str(head.head), head.kind, *figures, f"{head.p:.1e}", f"{head.q:.1e}"])
        show("\n" + aligned(named, right=[0, 1, 3, 4, 5, 6]) if result.detected else "\nno head was detected")
