"""The command `analyze`: a logit lens."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_introspect.cli.options import (
    Adapter,
    Layers,
    Model,
    PromptText,
    Raw,
    note_tokens,
    opened,
    parse_numbers,
    quoted,
    show_head,
)
from lazarus_introspect.cli.outputs import Outputs, show_pictures, writes_result

if TYPE_CHECKING:
    from lazarus_introspect.analysis import AnalysisConfig, AnalysisResult

Strategy = Literal["all", "evenly_spaced", "first_last", "custom"]
Track = Annotated[
    str | None, typer.Option("--track", help="Follow these tokens, comma-separated, as they would continue the prompt.")
]
StrategyOption = Annotated[
    Strategy | None, typer.Option("--layer-strategy", help="List these layers [default: all, or custom with --layers].")
]
Step = Annotated[int, typer.Option("--layer-step", min=1, help="Distance of evenly spaced layers.")]
TopK = Annotated[int, typer.Option("-k", "--top-k", min=1, max=1000, help="List this many tokens a layer (JSON).")]


def lens_config(
    strategy: Strategy | None,
    layers: str | None,
    step: int,
    track: str | None,
    top_k: int,
    *,
    raw: bool,
    threshold: float = 0.5,
    position: int = -1,
    every_position: bool = False,
) -> "AnalysisConfig":
    """Settings of a lens from options.

    Args:
        strategy: Value of `--layer-strategy`.
        layers: Value of `--layers`.
        step: Value of `--layer-step`.
        track: Value of `--track`.
        top_k: Value of `--top-k`.
        raw: Whether the prompt is a text to continue.
        threshold: Value of `--threshold`.
        position: Value of `--position`.
        every_position: Value of `--every-position`.

    Raises:
        RequestError: `--layers` and another strategy than custom, or the other way round.
    """
    from lazarus_introspect.analysis import AnalysisConfig, LayerStrategy
    from lazarus_introspect.errors import RequestError

    chosen = strategy or ("custom" if layers is not None else "all")
    if (chosen == "custom") != (layers is not None):
        raise RequestError("--layer-strategy custom and --layers require each other: give both or neither", "LI-E146")
    if not 0 < threshold <= 1:
        raise RequestError(f"--threshold {threshold} is no probability above 0: give at most 1", "LI-E146")
    return AnalysisConfig(
        layer_strategy=LayerStrategy(chosen),
        layer_step=step,
        custom_layers=tuple(parse_numbers(layers) or ()),
        top_k=top_k,
        track_tokens=tuple(each for each in (track or "").split(",") if each),
        multi_token="first",
        threshold=threshold,
        position=position,
        every_position=every_position,
        raw=raw,
    )


@writes_result
def analyze(
    model: Model,
    prompt: PromptText,
    adapter: Adapter = None,
    track: Track = None,
    layer_strategy: StrategyOption = None,
    layers: Layers = None,
    layer_step: Step = 4,
    top_k: TopK = 5,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Probability from which a token counts as probable.")
    ] = 0.5,
    position: Annotated[int, typer.Option("--position", help="Read this position; negative from the end.")] = -1,
    every_position: Annotated[
        bool, typer.Option("--every-position", help="Also read every position, for a map; pictures always do.")
    ] = False,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Read from each layer which token the model would predict (logit lens).

    Example: -m smollm2-360m -p "The capital of France is" --track " Paris, London" --raw
    """
    config = lens_config(
        layer_strategy,
        layers,
        layer_step,
        track,
        top_k,
        raw=raw,
        threshold=threshold,
        position=position,
        every_position=every_position or outputs.has_pictures,
    )
    with opened(model, adapter) as analyzer:
        result = analyzer.analyze(prompt, config)
    note_tokens(tuple(each.tracked for each in result.token_evolutions))
    if outputs.publish(result):
        return
    _show(result, config.threshold)


def _show(result: "AnalysisResult", threshold: float) -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    place = f"{result.position}, after {quoted(result.tokens[result.position])}"
    show_head(result, {"position": place, "prediction": quoted(result.predicted_token)})
    evolutions = result.token_evolutions
    head = ["layer", "token", "probability", "entropy", "KL to output", "JS to previous"]
    rows = [head + [f"rank of {quoted(each.token)}" for each in evolutions]]
    for layer in result.layer_predictions:
        figures = [f"{each:.3f}" for each in (layer.top_probability, layer.entropy, layer.kl_to_final)]
        ranks = [f"{each.ranks[layer.layer_idx]:,}" for each in evolutions]
        rows.append([str(layer.layer_idx), quoted(layer.top_token), *figures, f"{layer.js_to_previous:.3f}", *ranks])
    show("\n" + aligned(rows, right=[0, *range(2, len(rows[0]))]))
    if evolutions:
        named = ["token", "id", "first rank 1", "rank 1 from", f"probability >= {threshold:g}"]
        found = [
            [
                quoted(each.token),
                str(each.tracked.id),
                *(
                    "never" if layer is None else f"layer {layer}"
                    for layer in (each.first_top1_layer, each.emergence_layer, each.first_probable_layer)
                ),
            ]
            for each in evolutions
        ]
        show("\n" + aligned([named, *found], right=[1]))
    if result.grid is not None:
        show_pictures(result.grid.pictures(result.tokens)[:1])
    show_pictures(result.followed())
