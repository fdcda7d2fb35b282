"""The command `ablate`: texts of a model without some of its layers."""

from typing import Annotated, Literal

import typer

from lazarus_introspect.cli.options import (
    Adapter,
    Layers,
    MaxTokens,
    Model,
    PromptText,
    Raw,
    Seed,
    opened,
    parse_numbers,
    quoted,
    show_head,
)
from lazarus_introspect.cli.outputs import Outputs, writes_result


@writes_result
def ablate(
    model: Model,
    prompt: PromptText,
    adapter: Adapter = None,
    criterion: Annotated[
        str | None,
        typer.Option("-c", "--criterion", help="Check each answer: function_call, or a text that it must contain."),
    ] = None,
    layers: Layers = None,
    multi: Annotated[bool, typer.Option("--multi", help="Ablate all the layers jointly, not one by one.")] = False,
    component: Annotated[
        Literal["layer", "attention", "mlp"], typer.Option("--component", help="Ablate this part of each layer.")
    ] = "layer",
    expert: Annotated[
        str | None, typer.Option("--expert", help="Ablate these experts of each layer instead: 0-3, or 0,5.")
    ] = None,
    expert_mode: Annotated[
        Literal["drop", "renormalise", "reroute"] | None,
        typer.Option(
            "--expert-mode",
            help="Give the expert share 0, its share to the others, or choose another expert [default: drop].",
        ),
    ] = None,
    method: Annotated[
        Literal["zero", "mean", "resample", "noise"],
        typer.Option(
            "--method",
            help="Replace outputs by zero, by their mean over --reference, by random ones of it, or add noise.",
        ),
    ] = "zero",
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", help="mean, resample: take outputs of this prompt; repeat the option for several."),
    ] = None,
    noise_scale: Annotated[
        float | None,
        typer.Option("--noise-scale", help="noise: factor of the output's standard deviation [default: 1]."),
    ] = None,
    max_tokens: MaxTokens = 32,
    seed: Seed = 0,
    raw: Raw = False,
    *,
    outputs: Outputs,
) -> None:
    """Ablate layers, generate, and compare the texts with the original.

    Example: -m smollm2-360m -p "45 * 45 = " -c 2025 --layers 22,23 --multi --raw
    """
    from lazarus_core.console import show
    from lazarus_introspect.analysis import AblationConfig, AblationStudy
    from lazarus_introspect.errors import RequestError
    from lazarus_tokenkit.tables import aligned

    if noise_scale is not None and not 0 < noise_scale < float("inf"):
        raise RequestError(f"--noise-scale {noise_scale}: must be above 0", "LI-E146")
    if noise_scale is not None and method != "noise":
        raise RequestError("--noise-scale has no effect without --method noise: remove it", "LI-E146")
    if expert_mode is not None and expert is None:
        raise RequestError("--expert-mode has no effect without --expert: remove it", "LI-E146")
    experts = parse_numbers(expert, "--expert")
    if experts is not None and component != "layer":
        raise RequestError("--expert and --component exclude each other: give one of them", "LI-E146")
    config = AblationConfig(
        component="expert" if experts else component,
        experts=tuple(experts or ()),
        expert_mode=expert_mode or "drop",
        method=method,
        reference_prompts=tuple(reference or ()),
        noise_scale=1.0 if noise_scale is None else noise_scale,
        max_new_tokens=max_tokens,
        seed=seed,
        raw=raw,
    )
    chosen = parse_numbers(layers)
    with opened(model, adapter) as analyzer:
        result = AblationStudy(analyzer.lm).sweep(prompt, chosen, config, criterion=criterion, is_joint=multi)
    if outputs.publish(result):
        return
    said = {None: "", True: " (meets the criterion)", False: " (does not meet the criterion)"}
    show_head(result, {"original": quoted(result.original, 60) + said[result.original_meets_criterion]})
    rows = [["layers", "KL", "log p", "next token", *(["criterion"] if criterion else []), "text"]]
    for each in result.ablations:
        met = [] if each.meets_criterion is None else ["met" if each.meets_criterion else "not met"]
        token = quoted(each.top_token) + (" *" if each.top_changed else "")
        rows.append(
            [_names(each.layers), f"{each.kl:.3f}", f"{each.logprob_change:+.3f}", token, *met, quoted(each.text, 48)]
        )
    show("\n" + aligned(rows, right=[1, 2]))
    show("\nKL and log p: of the first new token, nats; *: another token than the original")


def _names(layers: tuple[int, ...]) -> str:
    if len(layers) > 2 and layers[-1] - layers[0] == len(layers) - 1:
        return f"{layers[0]}-{layers[-1]}"
    return ",".join(map(str, layers))
