"""The command `uncertainty`: entropy of prompts, and calibration where answers are known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_introspect.cli.options import Adapter, Model, Raw, Seed, opened, quoted
from lazarus_introspect.cli.outputs import Outputs, writes_result
from lazarus_introspect.cli.probing.options import settings_of, show_set_head

if TYPE_CHECKING:
    from lazarus_introspect.probing.uncertainty_results import CalibrationFigures, UncertaintyResult


@writes_result
def uncertainty(
    model: Model,
    adapter: Adapter = None,
    prompt: Annotated[
        list[str] | None, typer.Option("-p", "--prompt", help="Read this prompt; repeat for several.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "-d", "--data", help='Read prompts from this JSON Lines file: {"prompt": "...", "answer": "..."}.'
        ),
    ] = None,
    bins: Annotated[int, typer.Option("--bins", min=2, max=100, help="Bins of the calibration error.")] = 10,
    samples: Annotated[
        int,
        typer.Option(
            "--samples", min=0, max=1000, help="Sample this many answers; their agreement is a confidence too."
        ),
    ] = 0,
    temperature: Annotated[float, typer.Option("--temperature", help="Temperature of the samples.")] = 1.0,
    seed: Seed = 0,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Measure how uncertain the model is, and whether its confidence is calibrated where the answers are known.

    Example: -m smollm2-360m -p "The capital of France is" --raw
    Example: -m smollm2-360m -d capitals.jsonl --raw --samples 20
    """
    from lazarus_introspect.errors import RequestError
    from lazarus_introspect.probing import Question, UncertaintyConfig, read_questions
    from lazarus_introspect.probing import uncertainty as analysis

    if bool(prompt) == (data is not None):
        raise RequestError("give prompts by -p, or a file with answers by -d", "LI-E146")
    config = settings_of(UncertaintyConfig, bins=bins, samples=samples, temperature=temperature, seed=seed, raw=raw)
    questions = [Question(each) for each in prompt or ()] if data is None else read_questions(data)
    with opened(model, adapter) as analyzer:
        result = analysis(analyzer, questions, config)
    if outputs.publish(result):
        return
    _show(result)


def _show(result: "UncertaintyResult") -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    show_set_head(result, {})
    rows = [
        ["prompt", "entropy", "share", "token", "probability", "margin", "answer", "confidence", "agreement", "right"]
    ]
    for each in result.rows:
        figures = [f"{each.entropy:.3f}", f"{each.normalised_entropy:.3f}", quoted(each.top_token)]
        figures += [
            f"{each.top_probability:.3f}",
            f"{each.margin:.3f}",
            "-" if each.predicted is None else quoted(each.predicted),
        ]
        more = ["-" if value is None else f"{value:.3f}" for value in (each.confidence, each.agreement)]
        right = {None: "-", True: "yes", False: "no"}[each.is_right]
        rows.append([quoted(each.prompt, 32), *figures, *more, right])
    show("\n" + aligned(rows, right=[1, 2, 4, 5, 7, 8]))
    show("\nentropy: of the first new token, nats, and its share of the largest possible")
    for found in result.calibration:
        show("\n" + _calibration(found))


def _calibration(found: "CalibrationFigures") -> str:
    from lazarus_tokenkit.tables import aligned

    def interval(pair: tuple[float, float] | None) -> str:
        return "" if pair is None else f"[{pair[0]:.3f}, {pair[1]:.3f}]"

    rows = [
        (f"calibration of {found.confidence_of}", f"{found.answers} answers", ""),
        ("accuracy", f"{found.accuracy:.3f}", f"mean confidence {found.confidence:.3f}"),
        (
            "calibration error",
            f"{found.ece:.3f} {interval(found.ece_interval)}",
            f"{found.ece_null:.3f} by chance, p {found.ece_p:.3f}",
        ),
        (
            "Brier score",
            f"{found.brier:.3f} {interval(found.brier_interval)}",
            f"{found.brier_baseline:.3f} of a constant confidence",
        ),
        (
            "AUROC",
            "-" if found.auroc is None else f"{found.auroc:.3f} {interval(found.auroc_interval)}",
            "all answers are right, or all are wrong" if found.auroc is None else "0.5 by chance",
        ),
    ]
    bins = [["confidence", "answers", "mean confidence", "accuracy"]]
    for each in found.bins:
        means = ["-" if value is None else f"{value:.3f}" for value in (each.confidence, each.accuracy)]
        bins.append([f"{each.low:.2f} to {each.high:.2f}", str(each.answers), *means])
    return aligned(rows) + "\n\n" + aligned(bins, right=[1, 2, 3])
