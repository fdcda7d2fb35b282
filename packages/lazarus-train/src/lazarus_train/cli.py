"""`lazarus-train`, also `lazarus train`: training that obeys a batch plan."""

import contextlib
import re
import signal
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lazarus_plan.console import progress, run, say, show, version_option

if TYPE_CHECKING:
    from lazarus_train.config import SftConfig
    from lazarus_train.evaluate import HeldOut
    from lazarus_train.watcher import StepReport, Watcher

app = typer.Typer(
    name="lazarus-train",
    help="Trainers that obey the batch plan: enforced, audited, resumable to the bit.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-train")] = False) -> None:
    """Trainers that obey the batch plan: enforced, audited, resumable to the bit."""


@app.command()
def sft(
    model: Annotated[Path, typer.Option("--model", help="Model directory to start from.")],
    data: Annotated[Path, typer.Option("--data", help="The rows the plan was made for (.jsonl).")],
    batch_plan: Annotated[Path, typer.Option("--batch-plan", help="The plan to obey.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run, used as given.")],
    prompt_field: Annotated[str | None, typer.Option("--prompt-field", help="Field of the question.")] = None,
    completion_field: Annotated[str | None, typer.Option("--completion-field", help="Field of the answer.")] = None,
    messages_field: Annotated[str | None, typer.Option("--messages-field", help="Field of the conversation.")] = None,
    text_field: Annotated[str | None, typer.Option("--text-field", help="Field of the document.")] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="Chat template [default: the one the plan was measured with].")
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", help="Stop after this many steps of the plan.")
    ] = None,
    save_every: Annotated[
        int | None, typer.Option("--save-every", help="Steps between checkpoints [default: only the last step].")
    ] = None,
    resume: Annotated[
        str, typer.Option("--resume", help="auto (newest checkpoint), none (replace the run), or a checkpoint.")
    ] = "auto",
    use_lora: Annotated[bool, typer.Option("--use-lora", help="Train low-rank adapters, not all weights.")] = False,
    lora_rank: Annotated[int | None, typer.Option("--lora-rank", help="Width of the adapters [default: 8].")] = None,
    lora_alpha: Annotated[
        float | None, typer.Option("--lora-alpha", help="Strength of the adapters [default: twice the rank].")
    ] = None,
    lora_dropout: Annotated[
        float | None, typer.Option("--lora-dropout", help="Share of their inputs dropped [default: 0].")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak rate [default: 1e-4, with LoRA 1e-3].")
    ] = None,
    schedule: Annotated[
        Literal["cosine", "linear", "constant"], typer.Option("--schedule", help="Rate after the warm-up.")
    ] = "cosine",
    warmup_steps: Annotated[int, typer.Option("--warmup-steps", help="Steps to the peak rate.")] = 0,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Pull of matrices towards zero.")] = 0.01,
    max_grad_norm: Annotated[float, typer.Option("--max-grad-norm", help="Clip gradients to this norm.")] = 1.0,
    micro_rows: Annotated[
        int | None, typer.Option("--micro-rows", help="Rows computed at once; the rest accumulates [default: all].")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of adapters and dropout; the plan orders the data.")] = 0,
    eval_data: Annotated[Path | None, typer.Option("--eval-data", help="Held-out rows (.jsonl).")] = None,
    eval_every: Annotated[
        int | None, typer.Option("--eval-every", help="Steps between held-out losses [default: first and last].")
    ] = None,
) -> None:
    """Fine-tune a model on exactly what a plan says."""
    config = _config(
        model=model,
        data=data,
        batch_plan=batch_plan,
        output=output,
        prompt_field=prompt_field,
        completion_field=completion_field,
        messages_field=messages_field,
        text_field=text_field,
        template=template,
        max_steps=max_steps,
        save_every=save_every,
        lora=_lora(use_lora, rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout),
        optimizer={
            "learning_rate": _default_rate(use_lora) if learning_rate is None else learning_rate,
            "schedule": schedule,
            "warmup_steps": warmup_steps,
            "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm,
        },
        micro_rows=micro_rows,
        seed=seed,
        eval_data=eval_data,
        eval_every=eval_every,
    )
    from lazarus_train.ranks import launched
    from lazarus_train.trainer import sft as train

    with _watching(config, speaks=launched().is_first) as watcher:
        result = train(config, resume=resume, watcher=watcher)
    if not launched().is_first:
        return
    say(f"{result.steps} of {result.plan_steps} steps of the plan; audit head {result.audit_head[:16]}")
    say(f'next: lazarus infer --model {result.final} --prompt "..."')
    show(str(result.final))


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A run's folder, its `final`, or one of its checkpoints.")],
    model: Annotated[Path | None, typer.Option("--model", help="Where the run's first model lies now.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Where its rows lie now.")] = None,
    batch_plan: Annotated[Path | None, typer.Option("--batch-plan", help="Where its plan lies now.")] = None,
) -> None:
    """Walk from a trained model back to the rows: exit 0 if every link holds, 1 at the first that does not."""
    from lazarus_train.provenance import Elsewhere, verify_run

    for link in verify_run(path, Elsewhere(model, data, batch_plan)):
        show(f"{link.name:<11} {link.proof}")


@contextlib.contextmanager
def _watching(config: "SftConfig", *, speaks: bool) -> Generator["Watcher"]:
    """Progress on stderr; from the first step on, Ctrl-C is a request to stop after the step.

    Where several processes train, one speaks and all of them listen.
    """
    from lazarus_train.watcher import Watcher

    asked: list[int] = []
    if not speaks:
        with contextlib.ExitStack() as listening:

            def listen(_: str, first: int, last: int) -> None:
                listening.enter_context(_asking_to_stop(asked, speaks=False))

            yield Watcher(on_start=listen, should_stop=lambda: bool(asked))
        return
    with contextlib.ExitStack() as stack:
        encoding = stack.enter_context(contextlib.ExitStack())
        on_rows = encoding.enter_context(progress(f"encoding {config.data.name}", total=None, unit="rows"))
        training: list[Any] = []

        def on_start(checked: str, first: int, last: int) -> None:
            encoding.close()
            say(f"{checked}; {f'steps {first + 1} to {last}' if first < last else 'no step is left to do'}")
            stack.enter_context(_asking_to_stop(asked, speaks=True))
            training.append(stack.enter_context(progress("training", total=last, unit="steps")))
            training[0](first)

        def on_step(report: "StepReport") -> None:
            training[0](1, note=f"loss {report.loss:.3f}, {report.tokens / report.seconds:,.0f} tokens/s")

        def on_measure(done: int, total: int) -> None:
            training[0](0, note=f"measuring held-out loss, {done / total:.0%}")

        def on_held_out(step: int, result: "HeldOut") -> None:
            say(
                f"held-out loss after step {step}: {result.loss:.4f} nats a token, perplexity {result.perplexity:.2f}, "
                f"{result.bits_per_byte:.3f} bits a byte, {result.labels:,} tokens"
            )

        yield Watcher(
            on_rows, on_start, on_step, on_measure, on_held_out, on_warning=say, should_stop=lambda: bool(asked)
        )


@contextlib.contextmanager
def _asking_to_stop(asked: list[int], *, speaks: bool) -> Generator[None]:
    """Notes Ctrl-C and SIGTERM in `asked`; the second one stops at once."""

    def ask(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        if speaks:
            say("stopping after this step; once more stops at once")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _config(**settings: object) -> "SftConfig":
    from pydantic import ValidationError

    from lazarus_train.config import SftConfig

    try:
        return SftConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        said = re.sub(r"`(\w+)`", lambda name: _option(name[1]), first["msg"].removeprefix("Value error, "))
        raise typer.BadParameter(f"{_place(first['loc'])}{said[0].lower()}{said[1:]}") from error


def _place(location: tuple[int | str, ...]) -> str:
    """The option that a setting is given by; none for what two settings say together."""
    match location:
        case ("lora", name):
            return f"{_option(f'lora-{name}')}: "
        case ("optimizer", name) | (name,) if name not in ("lora", "optimizer"):
            return f"{_option(str(name))}: "
        case _:
            return ""


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _lora(is_used: bool, **settings: float | None) -> dict[str, float] | None:
    """Settings of the adapters that were given, or None where all weights are trained."""
    given = {name: value for name, value in settings.items() if value is not None}
    if given and not is_used:
        raise typer.BadParameter(f"{_option(f'lora-{next(iter(given))}')} needs --use-lora")
    return given if is_used else None


def _default_rate(use_lora: bool) -> float:
    from lazarus_train.config import FULL_RATE, LORA_RATE

    return LORA_RATE if use_lora else FULL_RATE


def main() -> None:
    """The console script."""
    run(app, "lazarus-train")
