"""`lazarus-tokenkit`, also `lazarus tokenizer`, `lazarus data lengths` and more: tokenizers, templates, samples, lengths."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from lazarus_core.console import version_option
from lazarus_tokenkit.cli import (
    analysis,
    doctor,
    encoding,
    identity,
    lengths,
    regression,
    samples,
    templates,
    training,
)

HELP = "Text to token ids: examine, compare, fingerprint tokenizers, count the tokens of data sets."


def _app(name: str, words: str, commands: list[Callable[..., Any]]) -> typer.Typer:
    made = typer.Typer(name=name, help=words, rich_markup_mode=None, no_args_is_help=True, add_completion=False)
    for command in commands:
        made.command(command.__name__.strip("_").replace("_", "-"))(command)
    if len(commands) == 1:
        made.callback()(lambda: None)  # else the one command would need no name
    return made


app = _app(
    "lazarus-tokenkit",
    HELP,
    [
        encoding.encode,
        encoding.decode,
        encoding.vocab,
        identity.compare,
        identity.fingerprint,
        identity.benchmark,
        doctor.doctor,
    ],
)
lengths_app = _app(
    "lengths",
    "Length caches: how many tokens each sample has.",
    [lengths.build, lengths.stats, lengths.waste],
)
samples_app = _app(
    "samples",
    "Data files: what they hold, their spelling, their order.",
    [samples.inspect, samples.prepare, samples.curriculum],
)
analyze_app = _app(
    "analyze",
    "What a tokenizer makes of a corpus, in numbers.",
    [
        analysis.coverage,
        analysis.entropy,
        analysis.fit_score,
        analysis.efficiency,
        analysis.diff,
        analysis.vocab_suggest,
        analysis.words,
    ],
)
templates_app = _app(
    "templates",
    "Chat templates: built in, a tokenizer's own, a file.",
    [templates.list_, templates.show_, templates.validate, templates.apply],
)
train_app = _app(
    "train", "New tokenizers from text, the same on every run.", [training.bpe, training.sentencepiece, training.char]
)
regression_app = _app("regression", "What a tokenizer must keep doing.", [regression.run])
for group in (analyze_app, lengths_app, samples_app, templates_app, train_app, regression_app):
    app.add_typer(group)


@app.callback(help=HELP)
def _root(version: Annotated[bool, version_option("lazarus-tokenkit")] = False) -> None:
    pass
