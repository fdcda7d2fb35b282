"""Catalogue of commands: package, name and help of all commands, without imports.

Packages register commands in the entry-point group `lazarus.commands`: `data.lengths` is `lazarus data lengths`, a
Typer
app or a function. A command that is missing in this catalogue is mounted too.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

GROUP = "lazarus.commands"


class Known(NamedTuple):
    """A command of a Lazarus package.

    Args:
        distribution: The package that provides it.
        help: One line.
    """

    distribution: str
    help: str


KNOWN = {
    "quickstart": Known("lazarus-cli", "Train a model and verify a resume, offline, in a minute."),
    "report": Known("lazarus-cli", "Write a recipe as one page: stages, curves, scores, answers, lock."),
    "run": Known("lazarus-cli", "Run a recipe: stages from documents to a model, with one lock."),
    "lock": Known("lazarus-cli", "Compare a recipe with its lock, or write the lock."),
    "bench": Known("lazarus-cli", "Measure your data from rows to training steps: lengths, packing, speed, memory."),
    "bench.infer": Known("lazarus-models", "Measure a model's latency: first token, tokens a second, memory."),
    "status": Known("lazarus-cli", "Show runs and other artifacts in a folder: progress, size, check, how to resume."),
    "cleanup": Known("lazarus-cli", "List what runs no longer need, and remove it on request."),
    "backup": Known("lazarus-cli", "Copy a run or another artifact, verified, as a folder or an archive."),
    "restore": Known("lazarus-cli", "Put a backup back, verified."),
    "push": Known("lazarus-cli", "Copy an artifact to a folder or the Hugging Face hub, verified."),
    "pull": Known("lazarus-cli", "Fetch a copy from a folder or the Hugging Face hub, verified."),
    "remote": Known("lazarus-cli", "Print or run the commands for a recipe on another machine."),
    "explain": Known("lazarus-cli", "Explain an error code: meaning, usual cause, way out."),
    "gym": Known("lazarus-gym", "Play puzzles, serve them, and score replies to tasks."),
    "generate": Known("lazarus-gym", "Write synthetic tasks as chat samples."),
    "data.batching": Known("lazarus-plan", "Analyze lengths; choose row length, token budget and mode."),
    "data.batchplan": Known("lazarus-plan", "Build, inspect, check and shard batch plans."),
    "data.corpus": Known("lazarus-corpus", "Build clean, deduplicated and split corpora from raw documents."),
    "data.images": Known("lazarus-tokenkit", "Turn images into rows of token ids, and rows into images."),
    "data.lengths": Known("lazarus-tokenkit", "Measure the lengths of samples in tokens."),
    "data.samples": Known("lazarus-tokenkit", "Inspect, rewrite and order data files."),
    "chat": Known("lazarus-models", "Chat with a model."),
    "doctor": Known("lazarus-models", "Report the device, its speed, and what to install."),
    "eval": Known("lazarus-models", "Evaluate models: perplexity, multiple choice, answers, preferences."),
    "infer": Known("lazarus-models", "Generate answers to prompts."),
    "introspect": Known("lazarus-introspect", "Look inside a model: lens, attention, attribution, ablation, patching."),
    "model": Known("lazarus-models", "Create, convert, estimate or describe models."),
    "plan-budget": Known("lazarus-train", "Plan a training run: tokens, steps, epochs, time, memory, disk."),
    "serve": Known("lazarus-models", "Serve a model with OpenAI's HTTP interface."),
    "sweep": Known("lazarus-train", "Find the largest micro-batch that fits and the fastest setup."),
    "tokenizer": Known("lazarus-tokenkit", "Encode, decode, analyze, train and fingerprint tokenizers."),
    "train": Known("lazarus-train", "Train a model on a batch plan."),
    "verify": Known("lazarus-train", "Verify a trained model back to the rows of its training data."),
}
HIDDEN = {
    "gym": ("generate",),  # `lazarus generate`
    "tokenizer": ("images", "lengths", "samples"),  # `lazarus data images` and so on
    "train": ("plan-budget", "sweep", "verify"),  # `lazarus plan-budget`, `lazarus sweep`, `lazarus verify`
}
"""Commands of mounted groups that have another place in `lazarus`: they work in both, and help lists one."""
GROUP_HELP = {"data": "Measure data, and build batch plans."}


@cache
def installed() -> dict[str, EntryPoint]:
    """Entry points by name, sorted by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def children(prefix: str) -> dict[str, str]:
    """Commands under a prefix: name and one line of help, sorted by name.

    Args:
        prefix: `""` for the root, `"data."` for `lazarus data`.
    """
    found: dict[str, str] = {}
    for name, point in installed().items():
        if not name.startswith(prefix):
            continue
        child, _, rest = name.removeprefix(prefix).partition(".")
        if rest:
            found.setdefault(child, GROUP_HELP.get(prefix + child, ""))  # `bench` has a help of its own
        else:
            found[child] = (
                KNOWN[name].help if name in KNOWN else f"From {point.dist.name if point.dist else point.value}."
            )
    return found
