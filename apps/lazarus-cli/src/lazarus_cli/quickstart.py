"""`lazarus quickstart`: the main workflow offline: data, lengths, plan, training, a kill, a verified resume, an
answer.

Every stage calls a function of a package, and prints the equivalent command.
"""

import hashlib
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.console import progress, say, show
from lazarus_core.errors import LazarusError
from lazarus_core.leftovers import remove

if TYPE_CHECKING:
    from lazarus_train import RunResult, StepReport, TrainConfig

TASKS = 90
KINDS = ("comparison",)
DIGITS = 1
"""All questions about the larger of two digits. A model of 35,000 parameters learns them in ten seconds on a CPU."""
EPOCHS = 40
TOKEN_BUDGET = 512
LEARNING_RATE = 5e-3
WARMUP_STEPS = 40
SAVE_EVERY = 50
PRESET = "nano"
POLL_S = 0.02
"""Seconds between reads of the audit log of the run to kill; shorter than a step."""
MADE = ("samples.jsonl", "lengths.jsonl", "plan", "model", "run-straight", "run-resumed")
"""Entries that quickstart creates in the folder, and replaces the next time."""
MARK = ".quickstart"
"""File that marks a folder of quickstart, which may be replaced."""


class FolderTaken(LazarusError):
    """The folder exists and was not created by quickstart."""


class QuickstartFailed(LazarusError):
    """A check of quickstart failed."""

    exit_code = 1


def quickstart(
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder.")] = Path("quickstart"),
    fast: Annotated[
        bool,
        typer.Option(
            "--fast-nondeterministic",
            help="Let gradients add in any order on a GPU: faster, but the weights of the two runs may differ.",
        ),
    ] = False,
) -> None:
    """Run the main workflow offline: data, plan, training, a kill half-way, a verified resume, an answer.

    Example: -o quickstart
    """
    began = time.monotonic()
    _make_folder(output)
    _write_samples(output / "samples.jsonl")
    _measure(output)
    steps = _plan(output)
    _new_model(output / "model")
    straight = _train(_config(output / "run-straight", fast=fast), f"5. Train all {steps} steps of the plan")
    killed = _config(output / "run-resumed", fast=fast)
    killed_after = _train_and_kill(killed, steps // 2)
    resumed = _train(killed, f"7. Resume it: it was killed after step {killed_after}")
    _prove(straight, resumed, output)
    _ask(resumed.final, output / "samples.jsonl")
    show(f"\nDone in {time.monotonic() - began:.0f} s. All files are in {output}/.")


def _make_folder(output: Path) -> None:
    str(output).encode()  # a record names it; the console words the error
    if output.exists():
        if not output.is_dir():
            raise FolderTaken(f"{output} is a file: give another name with -o", "LC-E110")
        others = sorted({each.name for each in output.iterdir()} - {MARK, *MADE})
        if others or (any(output.iterdir()) and not (output / MARK).is_file()):
            what = f"contains {', '.join(others[:5])}" if others else "is not a quickstart"
            raise FolderTaken(f"{output} exists and {what}: choose another with -o", "LC-E110")
    output.mkdir(parents=True, exist_ok=True)
    (output / MARK).touch()
    for name in MADE:
        remove(output / name)


def _write_samples(path: Path) -> None:
    from lazarus_gym import generate_tasks, write_samples

    _stage(
        "1. Write synthetic maths chats, seeded",
        f"lazarus generate -n {TASKS} --kinds {','.join(KINDS)} --digits {DIGITS} -o {_q(path)}",
    )
    tasks = generate_tasks(TASKS, seed=0, kinds=KINDS, digits=DIGITS)
    write_samples(tasks, path)
    show(f"   {len(tasks)} samples, such as: {tasks[0].prompt}  ->  {tasks[0].reply}")


def _measure(output: Path) -> None:
    from lazarus_tokenkit import Encoder, build_lengths, load_tokenizer

    samples, lengths = output / "samples.jsonl", output / "lengths.jsonl"
    _stage("2. Measure them in tokens", f"lazarus data lengths build -d {_q(samples)} -t byte -o {_q(lengths)}")
    header = build_lengths(samples, Encoder(load_tokenizer("byte")), lengths)
    show(f"   {header.count} lengths, with the fingerprints of data, template and tokenizer")


def _plan(output: Path) -> int:
    from lazarus_plan import PlanConfig, build_plan, read_lengths, save_plan

    _stage(
        "3. Decide once what every step will see",
        f"lazarus data batchplan build -l {_q(output / 'lengths.jsonl')} -e {EPOCHS} -b {TOKEN_BUDGET} --predictable "
        f"-o {_q(output / 'plan')}",
    )
    config = PlanConfig(token_budget=TOKEN_BUDGET, epochs=EPOCHS)
    plan = build_plan(read_lengths(output / "lengths.jsonl"), config)
    save_plan(plan, output / "plan")
    show(f"   {len(plan)} steps in {EPOCHS} epochs; plan_id {plan.plan_id.removeprefix('sha256:')[:16]}")
    return len(plan)


def _new_model(path: Path) -> None:
    from lazarus_models import init_model, save
    from lazarus_models.trees import parameter_count
    from lazarus_tokenkit import load_tokenizer

    _stage("4. Make a tiny Llama", f"lazarus model new --preset {PRESET} -t byte --seed 0 -o {_q(path)}")
    model = init_model(PRESET, load_tokenizer("byte"), seed=0)
    save(model, path)
    show(f"   {parameter_count(model.model):,} parameters")


def _train(config: "TrainConfig", title: str) -> "RunResult":
    from lazarus_models.backend import KERNELS
    from lazarus_train import Watcher, train

    _stage(title, _command(config))
    if KERNELS is not None and KERNELS.first_run:
        say(f"   {KERNELS.first_run}")
    with progress("   training", total=None, unit="steps") as advance:
        losses: list[float] = []

        def on_step(report: "StepReport") -> None:
            speed = f"{report.tokens / report.seconds:,.0f} tokens/s" if losses else "warm-up"
            losses.append(report.loss)
            advance(1, note=f"loss {report.loss:.3f}, {speed}")

        result = train(
            config,
            watcher=Watcher(
                on_start=lambda _, first, last: advance(first, total=last), on_step=on_step, on_warning=say
            ),
        )
    show(f"   loss {losses[0]:.3f} -> {losses[-1]:.3f} nats a token")
    return result


def _train_and_kill(config: "TrainConfig", steps: int) -> int:
    """Runs the command in a separate process, and kills it once its audit log has `steps` steps."""
    command = _command(config)
    _stage("6. The same again, killed half-way (SIGKILL)", command)
    audit = config.output / "audit.jsonl"
    arguments = [sys.executable, "-m", "lazarus_cli", *shlex.split(command)[1:]]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        with progress("   training", total=steps, unit="steps") as advance:
            seen = 0
            while process.poll() is None and seen < steps:
                time.sleep(POLL_S)
                now = _steps_in(audit)
                advance(now - seen)
                seen = now
        process.kill()
        _, words = process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise QuickstartFailed(f"the training ended by itself, exit {process.returncode}: {words.strip()}", "LC-E111")
    done = _steps_in(audit)
    show(f"   killed after step {done}; the newest checkpoint is that of step {done // SAVE_EVERY * SAVE_EVERY}")
    return done


def _prove(straight: "RunResult", resumed: "RunResult", output: Path) -> None:
    from lazarus_train.kernels import NOT_PROMISED, has_equal_bits

    if not has_equal_bits(json.loads((resumed.final.parent / "config.json").read_bytes())["policy"]):
        _stage("8. Compare the rows of both runs", f"lazarus run verify {_q(resumed.final.parent)}")
        if straight.data_head != resumed.data_head:
            raise QuickstartFailed(f"rows differ: {straight.data_head} and {resumed.data_head}", "LC-E112")
        show(f"   rows       {straight.data_head[:16]} = {resumed.data_head[:16]}")
        show(f"   weights    not compared: {NOT_PROMISED}")
        return
    _stage(
        "8. Prove that the kill changed nothing",
        f"cd {_q(output)} && sha256sum run-*/final/model.safetensors run-*/audit.jsonl run-*/metrics.jsonl",
    )
    for name, files in {
        "weights": [result.final / "model.safetensors" for result in (straight, resumed)],
        "audit log": [result.final.parent / "audit.jsonl" for result in (straight, resumed)],
        "metrics": [result.final.parent / "metrics.jsonl" for result in (straight, resumed)],
    }.items():
        first, second = (hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
        if first != second:
            raise QuickstartFailed(f"{name} differ: {files[0]} is {first}, {files[1]} is {second}", "LC-E112")
        show(f"   {name:<10} {first[:16]} = {second[:16]}")


def _ask(model: Path, samples: Path) -> None:
    from lazarus_gym import read_tasks, verify
    from lazarus_models import GenerationConfig, generate, load

    task = read_tasks(samples)[0]
    _stage("9. Ask it", f"lazarus infer --model {_q(model)} --prompt {_q(task.prompt)}")
    reply = generate(load(model), task.prompt, GenerationConfig(max_new_tokens=32)).text.strip()
    verdict = verify(task, reply)
    show(f"   {reply}   ({'right' if verdict.correct else f'wrong: it is {task.answer}'})")


def _config(run: Path, *, fast: bool) -> "TrainConfig":
    from lazarus_train import OptimizerSettings, TrainConfig

    folder = run.parent
    return TrainConfig(
        model=folder / "model",
        data=folder / "samples.jsonl",
        batch_plan=folder / "plan",
        output=run,
        save_every=SAVE_EVERY,
        fast_nondeterministic=fast,
        optimizer=OptimizerSettings(learning_rate=LEARNING_RATE, warmup_steps=WARMUP_STEPS),
    )


def _command(config: "TrainConfig") -> str:
    return (
        f"lazarus train sft --model {_q(config.model)} --data {_q(config.data_files[0])} "
        f"--batch-plan {_q(config.batch_plan)} --learning-rate {config.optimizer.learning_rate} "
        f"--warmup-steps {config.optimizer.warmup_steps} --save-every {config.save_every} "
        f"{'--fast-nondeterministic ' if config.fast_nondeterministic else ''}-o {_q(config.output)}"
    )


def _steps_in(audit: Path) -> int:
    """Number of complete steps in an audit log; its first line is a header."""
    return max(0, audit.read_bytes().count(b"\n") - 1) if audit.is_file() else 0


def _stage(title: str, command: str) -> None:
    show(f"\n{title}\n   $ {command}")


def _q(word: Path | str) -> str:
    """A word quoted for the shell."""
    return shlex.quote(str(word))
