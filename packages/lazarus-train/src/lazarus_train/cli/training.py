"""The training commands: one loop, a command for each thing that can be learnt."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lazarus_core.console import say, show
from lazarus_train.cli.option_names import make_config
from lazarus_train.cli.options import Settings, with_training_options
from lazarus_train.run_dir.layout import INITIAL

PromptField = Annotated[str | None, typer.Option("--prompt-field", help="Field of the question.")]
CompletionField = Annotated[str | None, typer.Option("--completion-field", help="Field of the answer.")]
MaskId = Annotated[
    int | None, typer.Option("--mask-id", help="Token id that stands for a masked one; not in the data.")
]
Draws = Annotated[
    int | None, typer.Option("--draws", help="Draws of masks in a held-out loss of diffusion [default: 128].")
]
TextField = Annotated[str | None, typer.Option("--text-field", help="Field of the document.")]


@with_training_options
def pretrain(
    settings: Settings,
    model: Annotated[Path | None, typer.Option("--model", help="Model to go on from: directory or hub name.")] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="From nothing: nano, tiny-test, micro, tiny, small or medium.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="From nothing: a config.json, or a directory with one.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("-t", "--tokenizer", help="From nothing: a tokenizer's directory or file, or `byte`.")
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option("--vocab-size", min=1, help="From nothing: rows of the embedding [default: the tokenizer's]."),
    ] = None,
    text_field: TextField = None,
    objective: Annotated[
        Literal["causal", "diffusion", "mntp"],
        typer.Option("--objective", help="The next token, masked tokens, or masked tokens from the place before."),
    ] = "causal",
    mask_id: MaskId = None,
    causal_share: Annotated[
        float | None, typer.Option("--causal-share", help="Weight of the next token beside diffusion [default: 0].")
    ] = None,
    truncated_share: Annotated[
        float | None,
        typer.Option("--truncated-share", help="Samples that diffusion cuts to a random length [default: 0.01]."),
    ] = None,
    mask_share: Annotated[
        float | None, typer.Option("--mask-share", help="Share of tokens that mntp masks [default: 0.2].")
    ] = None,
    draws: Draws = None,
) -> None:
    """Train on documents by a plan, from a model or from nothing: next tokens, or masked ones."""
    if sum(each is not None for each in (model, preset, config)) != 1:
        raise typer.BadParameter("give one of --model, --preset and --config")
    if (model is None) is not (tokenizer is not None):
        raise typer.BadParameter(
            "--tokenizer has no effect with --model" if model else "--preset and --config need --tokenizer"
        )
    if model is not None and vocab_size is not None:
        raise typer.BadParameter("--vocab-size has no effect with --model")
    shape = preset or config
    settings["fresh"] = None if shape is None else (shape, tokenizer, vocab_size)
    given = {
        "mask_id": mask_id,
        "causal_share": causal_share,
        "truncated_share": truncated_share,
        "mask_share": mask_share,
        "draws": draws,
    }
    _train(settings, {"kind": objective, **_given(given)}, text_field=text_field)


@with_training_options
def sft(
    settings: Settings,
    prompt_field: PromptField = None,
    completion_field: CompletionField = None,
    messages_field: Annotated[str | None, typer.Option("--messages-field", help="Field of the conversation.")] = None,
    text_field: TextField = None,
    objective: Annotated[
        Literal["causal", "diffusion"],
        typer.Option("--objective", help="The next token of an answer, or its masked tokens."),
    ] = "causal",
    mask_id: MaskId = None,
    draws: Draws = None,
) -> None:
    """Fine-tune a model on answers by a plan."""
    fields = {"prompt_field": prompt_field, "completion_field": completion_field, "messages_field": messages_field}
    given = {"mask_id": mask_id, "draws": draws, "truncated_share": 0.0 if objective == "diffusion" else None}
    _train(settings, {"kind": objective, **_given(given)}, **fields, text_field=text_field)


@with_training_options
def dpo(
    settings: Settings,
    loss: Annotated[
        Literal["dpo", "ipo", "hinge", "kto", "kto_pair", "orpo", "simpo"],
        typer.Option("--loss", help="orpo and simpo need no reference."),
    ] = "dpo",
    beta: Annotated[
        float | None, typer.Option("--beta", help="How strongly the model is held to the reference [default: 0.1].")
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option("--label-smoothing", help="Share of pairs labelled the wrong way [default: 0].")
    ] = None,
    is_length_normalized: Annotated[
        bool | None,
        typer.Option(
            "--length-normalized/--no-length-normalized",
            help="Means over an answer's tokens, or sums [default: means for ipo, else sums].",
        ),
    ] = None,
    likelihood: Annotated[
        Literal["answer", "prompt-and-answer"] | None,
        typer.Option("--likelihood", help="Tokens of orpo's likelihood; TRL's trainer counts both [default: answer]."),
    ] = None,
    desirable_weight: Annotated[
        float | None, typer.Option("--desirable-weight", help="Weight of desirable answers with kto [default: 1].")
    ] = None,
    undesirable_weight: Annotated[
        float | None, typer.Option("--undesirable-weight", help="Weight of undesirable answers with kto [default: 1].")
    ] = None,
    margin: Annotated[
        float | None, typer.Option("--margin", help="Lead of the chosen answer that simpo asks for [default: 0].")
    ] = None,
    reference: Annotated[
        Literal["cached", "copy", "adapters-off"] | None,
        typer.Option("--reference", help="Computed once, a second model, or the model itself [default: cached]."),
    ] = None,
    label_field: Annotated[
        str | None,
        typer.Option("--label-field", help="With kto, of single answers: field that is true for desirable ones."),
    ] = None,
) -> None:
    """Train a model by a plan to prefer the better of two answers (DPO and its kin), or desirable ones (KTO)."""
    given = {
        "beta": beta,
        "label_smoothing": label_smoothing,
        "is_length_normalized": is_length_normalized,
        "margin": margin,
        "likelihood": likelihood,
        "desirable_weight": desirable_weight,
        "undesirable_weight": undesirable_weight,
        "reference": reference,
    }
    _train(settings, {"kind": "preference", "loss": loss, **_given(given)}, label_field=label_field)


@with_training_options
def reward(
    settings: Settings,
    center: Annotated[float, typer.Option("--center", help="Weight that keeps rewards near zero: 0.01.")] = 0.0,
) -> None:
    """Train a model by a plan to score the better of two answers higher."""
    _train(settings, {"kind": "reward", "center": center})


@with_training_options
def classify(
    settings: Settings,
    prompt_field: PromptField = None,
    completion_field: CompletionField = None,
    classes: Annotated[
        str, typer.Option("--classes", help="The answers there are: no,yes [default: the data's].")
    ] = "",
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Answers are numbers to come near to (regression).")
    ] = False,
) -> None:
    """Train a model by a plan to choose an answer, or a number."""
    if numbers and classes:
        raise typer.BadParameter("--classes has no effect with --numbers")
    objective: Settings = {
        "kind": "classification",
        "classes": [name.strip() for name in classes.split(",")] if classes else (),
    }
    fields = {"prompt_field": prompt_field, "completion_field": completion_field}
    _train(settings, {"kind": "regression"} if numbers else objective, **fields)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _train(settings: Settings, objective: Settings, **fields: str | None) -> None:
    """Makes the model and the plan where they are asked for, then trains."""
    planning, resume, log_to = settings.pop("planning"), settings.pop("resume"), settings.pop("log_to")
    fresh: tuple[str | Path, str, int | None] | None = settings.pop("fresh", None)
    if fresh is not None:
        settings["model"] = settings["output"] / INITIAL
    config = make_config(**settings, **fields, objective=objective)
    from lazarus_train.build_plan import plan_run
    from lazarus_train.callbacks.loggers import telling
    from lazarus_train.cli.progress import watching
    from lazarus_train.distributed import launched
    from lazarus_train.engine.trainer import train

    ranks = launched()
    if fresh is not None:
        from lazarus_train.init_model import FreshModel, make_model

        if ranks.is_first:
            make_model(FreshModel(*fresh, seed=config.seed), config.output, resume=resume)
        ranks.check_same(fresh=str(fresh))  # nobody reads the model before it is written
    if planning is not None:
        plan_run(config, planning, resume=resume, writes=ranks.is_first)
        ranks.check_same(planning=planning)  # nobody reads the plan before it is written
    with (
        watching(config, speaks=ranks.is_first) as watcher,
        telling(watcher, log_to if ranks.is_first else (), config) as teller,
    ):
        result = train(config, resume=resume, watcher=teller)
    if not ranks.is_first:
        return
    say(f"{result.steps} of {result.plan_steps} steps of the plan")
    say(
        f"audit head {result.audit_head}, data head {result.data_head}; write down the audit head and the plan_id elsewhere"
    )
    if objective["kind"] in ("causal", "preference"):
        say(f'next: lazarus infer --model {result.final} --prompt "..."')
    show(str(result.final))
