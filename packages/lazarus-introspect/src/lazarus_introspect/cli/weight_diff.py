"""The command `weight-diff`: differences of the weights of two models."""

from typing import Annotated

import typer

from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.pair_of_models import First, Second, opened_pair


@writes_result
def weight_diff(
    first: First,
    second: Second,
    spectrum: Annotated[
        bool, typer.Option("--spectrum/--no-spectrum", help="Compute singular values: cubic in the width of a matrix.")
    ] = True,
    top: Annotated[int, typer.Option("--top", min=1, help="List this many tensors, by relative difference.")] = 20,
    *,
    outputs: Outputs,
) -> None:
    """Compare the weights of two models, or of a model with and without an adapter.

    Example: smollm2-360m checkpoints/sft/final

    Example: smollm2-360m my-adapter --top 5
    """
    from lazarus_core.console import show
    from lazarus_introspect.differences import compare_weights
    from lazarus_tokenkit.tables import aligned

    with opened_pair(first, second) as (one, two):
        result = compare_weights(one, two, has_spectrum=spectrum)
    if outputs.publish(result):
        return
    head = {name.lower(): fact for name, fact in result.about().items()}
    total = "-" if result.relative is None else f"{result.relative:.3g}"
    head["difference"] = f"{total} of the norm; {result.unchanged} of {len(result.tensors)} tensors unchanged"
    show(aligned(list(head.items())))
    rows = [["tensor", "shape", "relative", "cosine", "largest", "top share", "top 8", "effective rank"]]
    changed = [each for each in result.tensors if not each.is_unchanged]
    for each in sorted(changed, key=lambda each: (-(each.relative or float("inf")), each.name))[:top]:
        shape = " x ".join(map(str, each.shape))
        cosine = "-" if each.cosine is None else f"{each.cosine:.5f}"
        shares = ["-" if value is None else f"{value:.1%}" for value in (each.top_share, each.top_eight_share)]
        rank = "-" if each.effective_rank is None else f"{each.effective_rank:.1f}"
        relative = "-" if each.relative is None else f"{each.relative:.3g}"
        rows.append([each.name, shape, relative, cosine, f"{each.largest:.3g}", *shares, rank])
    show("\n" + aligned(rows, right=range(2, 8)) if changed else "\nall tensors are equal")
    for words, names in (("only in the first", result.only_first), ("only in the second", result.only_second)):
        if names:
            show(f"\n{words}: {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else ""))
    shapes = [
        [name, " x ".join(map(str, before)), " x ".join(map(str, after))]
        for name, (before, after) in result.other_shapes.items()
    ]
    if shapes:
        show("\n" + aligned([["other shapes", "first", "second"], *shapes[:top]]))
