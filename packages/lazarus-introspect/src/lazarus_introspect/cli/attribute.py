"""The command `attribute`: direct logit attribution."""

from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_introspect.cli.options import Adapter, Model, PromptText, Raw, opened, quoted, show_head
from lazarus_introspect.cli.outputs import Outputs, show_pictures, writes_result

if TYPE_CHECKING:
    from lazarus_introspect.analysis import AttributionResult

_BAR = 24


@writes_result
def attribute(
    model: Model,
    prompt: PromptText,
    adapter: Adapter = None,
    positive: Annotated[
        str | None, typer.Option("--positive", help="Token whose logit counts [default: the prediction].")
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", help="Token that is subtracted [default: the second prediction].")
    ] = None,
    position: Annotated[int, typer.Option("--position", help="Read this position; negative from the end.")] = -1,
    top: Annotated[int, typer.Option("--top", min=1, help="List this many components.")] = 20,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Split the difference of two logits into shares of the embedding, heads and MLPs.

    Example: -m smollm2-360m -p "The capital of France is" --positive " Paris" --negative " London" --raw
    """
    with opened(model, adapter) as analyzer:
        result = analyzer.attribute(prompt, positive, negative, position=position, raw=raw)
    if outputs.publish(result):
        return
    _show(result, top)


def _show(result: "AttributionResult", top: int) -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    pair = f"{quoted(result.positive.text)} - {quoted(result.negative.text)}"
    show_head(result, {"difference": f"logit of {pair} = {result.difference:+.4f}, sum of shares {result.total:+.4f}"})
    shares = result.shares()
    ordered = sorted(shares.items(), key=lambda item: -abs(item[1]))
    shown = [item for item in ordered if item[1] != 0][:top]
    largest = max((abs(share) for _, share in shown), default=0) or 1
    rows = [("component", "share", "")]
    for name, share in shown:
        bar = "#" * round(abs(share) / largest * _BAR)
        rows.append((name, f"{share:+.4f}", bar if share > 0 else bar.replace("#", "-")))
    rest = sum(share for _, share in ordered) - sum(share for _, share in shown)
    rows.append((f"the other {len(shares) - len(shown)}", f"{rest:+.4f}", ""))
    show("\n" + aligned(rows, right=[1]))
    show_pictures(result.pictures()[1:])
