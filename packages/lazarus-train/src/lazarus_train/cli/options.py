"""The options that all training commands share, declared once, and what they mean together.

A command declares its own options and one parameter, `settings`; `with_training_options` gives it the shared ones too.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lazarus_core.cli_options import shared_options
from lazarus_train.cli.option_names import checked_planning, option_of

Settings = dict[str, Any]


def _shared(
    model: Annotated[Path, typer.Option("--model", help="Model to start from: directory or hub name.")],
    data: Annotated[
        list[Path],
        typer.Option("--data", help="The rows the plan was made for (.jsonl); once for each of its sources."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run, used as given.")],
    batch_plan: Annotated[Path | None, typer.Option("--batch-plan", help="The plan to obey.")] = None,
    expect_plan: Annotated[
        str | None,
        typer.Option("--expect-plan", help="The plan_id that the plan must have (16 digits or more), or a lock."),
    ] = None,
    build_plan: Annotated[
        bool, typer.Option("--build-plan", help="Build a plan into the run's folder, and obey it.")
    ] = False,
    token_budget: Annotated[
        int | None, typer.Option("-b", "--token-budget", help="With --build-plan: tokens a step, padding included.")
    ] = None,
    row_len: Annotated[
        int | None, typer.Option("--row-len", help="With --build-plan: tokens a row [default: the longest sample's].")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("-e", "--epochs", help="With --build-plan: passes [default: 1].")
    ] = None,
    mode: Annotated[
        Literal["packed", "padded"] | None,
        typer.Option("--mode", help="With --build-plan: samples share rows, or not [default: packed]."),
    ] = None,
    oversize: Annotated[
        Literal["error", "exclude", "truncate", "split"] | None,
        typer.Option("--oversize", help="With --build-plan: samples longer than a row [default: error]."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="With --build-plan: rows of each --data as ratios: 3,1.")
    ] = None,
    predictable: Annotated[
        bool, typer.Option("--predictable", help="With --build-plan: seed 0, the same plan whenever it is built.")
    ] = False,
    template: Annotated[
        str | None, typer.Option("--template", help="Chat template [default: the one the plan was measured with].")
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", help="Stop after this many steps of the plan.")
    ] = None,
    save_every: Annotated[
        int | None, typer.Option("--save-every", help="Steps between checkpoints [default: only the last step].")
    ] = None,
    keep_checkpoints: Annotated[
        int | None, typer.Option("--keep-checkpoints", help="Newest that stay, beside the best [default: all].")
    ] = None,
    resume: Annotated[
        str, typer.Option("--resume", help="auto (newest checkpoint), none (replace the run), or a checkpoint.")
    ] = "auto",
    use_lora: Annotated[bool, typer.Option("--use-lora", help="Train low-rank adapters, not all weights.")] = False,
    lora_kind: Annotated[
        Literal["lora", "dora"] | None, typer.Option("--lora-kind", help="Kind of the adapters [default: lora].")
    ] = None,
    lora_rank: Annotated[int | None, typer.Option("--lora-rank", help="Width of the adapters [default: 8].")] = None,
    lora_alpha: Annotated[
        float | None, typer.Option("--lora-alpha", help="Strength of the adapters [default: twice the rank].")
    ] = None,
    lora_dropout: Annotated[
        float | None, typer.Option("--lora-dropout", help="Share of their inputs dropped [default: 0].")
    ] = None,
    lora_targets: Annotated[
        str | None, typer.Option("--lora-targets", help="Layers to adapt: q_proj,v_proj [default: all of the blocks].")
    ] = None,
    freeze: Annotated[
        str, typer.Option("--freeze", help="Parameters that stay, by patterns: *embed*,model.layers.0.*")
    ] = "",
    optimizer: Annotated[
        Literal["adamw", "muon", "adafactor", "lion", "sgd"],
        typer.Option("--optimizer", help="muon: for the matrices of the blocks, adamw for the rest."),
    ] = "adamw",
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak rate [default: 1e-4, with LoRA 1e-3].")
    ] = None,
    muon_learning_rate: Annotated[
        float | None, typer.Option("--muon-learning-rate", help="Peak rate of what muon moves [default: 0.02].")
    ] = None,
    min_learning_rate: Annotated[float, typer.Option("--min-learning-rate", help="Rate that the decay ends at.")] = 0.0,
    rate_factors: Annotated[
        str, typer.Option("--rate-factors", help="Multiples of the rate by pattern: *embed*=0.1,*norm*=2")
    ] = "",
    schedule: Annotated[
        Literal["cosine", "linear", "constant", "wsd"], typer.Option("--schedule", help="Rate after the warm-up.")
    ] = "cosine",
    warmup_steps: Annotated[int, typer.Option("--warmup-steps", help="Steps to the peak rate.")] = 0,
    decay_steps: Annotated[
        int | None, typer.Option("--decay-steps", help="Steps of wsd's decay [default: a tenth of the plan].")
    ] = None,
    beta1: Annotated[
        float | None, typer.Option("--beta1", help="Of adamw, lion, muon: memory of gradients [default: 0.9].")
    ] = None,
    beta2: Annotated[
        float | None, typer.Option("--beta2", help="Of their squares [default: 0.999, with lion 0.99].")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", help="Of adamw: added to a root [default: 1e-8].")
    ] = None,
    momentum: Annotated[float | None, typer.Option("--momentum", help="Of sgd and muon [default: 0.95].")] = None,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Pull of matrices towards zero.")] = 0.01,
    max_grad_norm: Annotated[float, typer.Option("--max-grad-norm", help="Clip gradients to this norm.")] = 1.0,
    ema: Annotated[
        float | None, typer.Option("--ema", help="Decay of a mean of the weights, saved too: 0.999 [default: none].")
    ] = None,
    neftune_alpha: Annotated[
        float | None, typer.Option("--neftune-alpha", help="Noise on the embeddings: 5 [default: none].")
    ] = None,
    shards_optimizer: Annotated[
        bool, typer.Option("--shard-optimizer", help="Each process of the run keeps a part of the moments.")
    ] = False,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Compute in bfloat16 from weights kept in float32, on a GPU.")
    ] = False,
    recomputes: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute activations again to save memory.")
    ] = False,
    micro_rows: Annotated[
        int | None, typer.Option("--micro-rows", help="Rows computed at once; the rest accumulates [default: all].")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of fresh weights, dropout, noise; the plan orders the data.")
    ] = 0,
    eval_data: Annotated[
        list[str] | None,
        typer.Option("--eval-data", help="Held-out rows, FILE or NAME=FILE; again for more. The first decide."),
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option("--eval-every", help="Steps between held-out losses [default: first and last].")
    ] = None,
    sample_prompt: Annotated[
        list[str] | None,
        typer.Option("--sample-prompt", help="Ask the model this at every held-out loss; again for each."),
    ] = None,
    log_to: Annotated[
        str, typer.Option("--log-to", help="Tell the figures to tensorboard, wandb or both, with a comma.")
    ] = "",
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop when so many held-out losses were no better.")
    ] = None,
    min_gap: Annotated[
        float | None,
        typer.Option("--min-gap", help="With --patience: only where they are so far above the training loss."),
    ] = None,
) -> Settings:
    """What the shared options say, as settings of a run with, under names of their own, how to plan and to resume."""
    planning = {
        "token_budget": token_budget,
        "row_len": row_len,
        "epochs": epochs,
        "mode": mode,
        "oversize": oversize,
        "stages": None if weights is None else _mixture(weights, len(data)),
        "seed": 0 if predictable else None,
    }
    planning = {name: value for name, value in planning.items() if value is not None}
    if build_plan == (batch_plan is not None):
        raise typer.BadParameter("give the plan to obey as --batch-plan, or --build-plan to have one built")
    if planning and not build_plan:
        name = next(iter(planning))
        raise typer.BadParameter(f"{'--predictable' if name == 'seed' else option_of(name)} needs --build-plan")
    if min_gap is not None and patience is None:
        raise typer.BadParameter("--min-gap needs --patience")
    if build_plan and token_budget is None:
        raise typer.BadParameter("--build-plan needs --token-budget")
    adapters = {
        "kind": lora_kind,
        "rank": lora_rank,
        "alpha": lora_alpha,
        "dropout": lora_dropout,
        "targets": None if lora_targets is None else lora_targets.split(","),
    }
    moving = {
        "learning_rate": _default_rate(use_lora) if learning_rate is None else learning_rate,
        "muon_learning_rate": muon_learning_rate,
        "decay_steps": decay_steps,
        "beta1": beta1,
        "beta2": beta2,
        "epsilon": epsilon,
        "momentum": momentum,
    }
    return {
        "planning": checked_planning(planning) if build_plan else None,
        "resume": resume,
        "log_to": _loggers(log_to),
        "model": model,
        "data": data[0] if len(data) == 1 else tuple(data),
        "batch_plan": output / "batch_plan" if batch_plan is None else batch_plan,
        "expect_plan": expect_plan,
        "output": output,
        "template": template,
        "max_steps": max_steps,
        "save_every": save_every,
        "keep_checkpoints": keep_checkpoints,
        "lora": _lora(use_lora, adapters),
        "freeze": freeze.split(",") if freeze else (),
        "optimizer": {
            "name": optimizer,
            "min_learning_rate": min_learning_rate,
            "rate_factors": _factors(rate_factors),
            "schedule": schedule,
            "warmup_steps": warmup_steps,
            "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm,
        }
        | {name: value for name, value in moving.items() if value is not None},
        "ema": ema,
        "neftune_alpha": neftune_alpha,
        "shards_optimizer": shards_optimizer,
        "mixed_precision": mixed_precision,
        "recomputes": recomputes,
        "micro_rows": micro_rows,
        "seed": seed,
        "eval_data": _named(eval_data or ()),
        "eval_every": eval_every,
        "sample_prompts": tuple(sample_prompt or ()),
        "early_stop": None if patience is None else {"patience": patience, "min_gap": min_gap or 0.0},
    }


with_training_options = shared_options("settings", _shared)
"""Gives a command the shared options beside its own, and what they say as its `settings`."""


def _lora(is_used: bool, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Settings of the adapters that were given, or None where all weights are trained."""
    given = {name: value for name, value in settings.items() if value is not None}
    if given and not is_used:
        raise typer.BadParameter(f"{option_of(f'lora-{next(iter(given))}')} needs --use-lora")
    return given if is_used else None


def _named(given: Sequence[str]) -> dict[str, Path]:
    """Held-out rows by name: the one given, or the file's without its ending."""
    found: list[tuple[str, Path]] = []
    for text in given:
        pair = re.fullmatch(r"(?:(\w[\w.-]*)=)?([^=].*)", text, re.DOTALL)
        if pair is None:
            raise typer.BadParameter(f"--eval-data {text!r}: give FILE or NAME=FILE")
        name, path = pair[1], Path(pair[2])
        found.append((name or re.sub(r"[^\w.-]+", "-", path.stem).lstrip("-.") or "held-out", path))
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise typer.BadParameter(f"--eval-data: two are called {name!r}; write NAME=FILE")
    return dict(found)


def _factors(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    for pattern, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"--rate-factors: {pattern!r} has no =; write *embed*=0.1,*norm*=2")
    return {pattern: factor for pattern, _, factor in pairs}


def _mixture(text: str, sources: int) -> tuple[Any, ...]:
    """The one stage of a plan that mixes its sources by ratios of rows."""
    from lazarus_plan import Stage

    ratios = tuple(int(part) for part in text.split(",") if part.strip().isdigit())
    if len(ratios) != sources or len(text.split(",")) != sources or 0 in ratios:
        raise typer.BadParameter(
            f"--weights {text}: give a whole number for each --data, as {','.join(['1'] * sources)}"
        )
    return (Stage(sources=tuple(range(sources)), weights=ratios),)


def _loggers(text: str) -> tuple[str, ...]:
    names = tuple(text.split(",")) if text else ()
    for name in names:
        if name not in ("tensorboard", "wandb"):
            raise typer.BadParameter(f"--log-to {name}: give tensorboard, wandb or both, with a comma")
    return names


def _default_rate(use_lora: bool) -> float:
    from lazarus_train.config import FULL_RATE, LORA_RATE

    return LORA_RATE if use_lora else FULL_RATE
