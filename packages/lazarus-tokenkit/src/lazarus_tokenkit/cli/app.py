"""The command line of `lazarus-tokenkit`. `lazarus` mounts the same applications as `lazarus tokenizer` and `lazarus data`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from lazarus_core.cli_app import App
from lazarus_core.console import version_option
from lazarus_tokenkit.cli import (
    analysis,
    doctor,
    encoding,
    identity,
    images,
    lengths,
    regression,
    samples,
    templates,
    training,
)
from lazarus_tokenkit.cli.option_names import with_option_names

HELP = "Inspect, compare, train and fingerprint tokenizers, and count the tokens of data sets."


def _app(name: str, words: str, commands: list[Callable[..., Any]]) -> typer.Typer:
    made = App(name=name, help=words, no_args_is_help=True)
    for command in commands:
        made.command(command.__name__.strip("_").replace("_", "-"))(with_option_names(command))
    if len(commands) == 1:
        made.callback()(lambda: None)  # without a callback, typer would make the single command the application
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
    "Build and read length caches, the token counts of a data set.",
    [lengths.build, lengths.stats, lengths.waste],
)
samples_app = _app(
    "samples",
    "Inspect, rewrite and order data files.",
    [samples.inspect, samples.prepare, samples.curriculum],
)
images_app = _app(
    "images",
    "Turn images into rows of token ids, and rows into images.",
    [images.prepare, images.grid],
)
analyze_app = _app(
    "analyze",
    "Measure a tokenizer on a corpus.",
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
    "List, show, validate and apply chat templates.",
    [templates.list_, templates.show_, templates.validate, templates.apply],
)
train_app = _app(
    "train",
    "Train new tokenizers, with the same bytes on every run.",
    [training.bpe, training.sentencepiece, training.char],
)
regression_app = _app("regression", "Check a tokenizer against expected encodings.", [regression.run])
for group in (analyze_app, images_app, lengths_app, samples_app, templates_app, train_app, regression_app):
    app.add_typer(group)


@app.callback(help=HELP)
def _root(version: Annotated[bool, version_option("lazarus-tokenkit")] = False) -> None:
    pass
