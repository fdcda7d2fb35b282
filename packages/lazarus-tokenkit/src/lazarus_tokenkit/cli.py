"""`lazarus-tokenkit`, also `lazarus tokenizer` and `lazarus data lengths`: encode, decode, fingerprint, count."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_plan.console import progress, run, say, show, version_option
from lazarus_tokenkit.errors import TokenkitError

if TYPE_CHECKING:
    from lazarus_tokenkit.stats import LengthStats
    from lazarus_tokenkit.tokenizer import Tokenizer

app = typer.Typer(
    name="lazarus-tokenkit",
    help="Text to token ids: encode, decode, fingerprint tokenizers, count the tokens of data sets.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)
lengths_app = typer.Typer(
    name="lengths",
    help="Length caches: how many tokens each sample has, and what decided it.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(lengths_app)

TokenizerName = Annotated[
    str, typer.Option("-t", "--tokenizer", help="`byte`, a directory with tokenizer.json, or that file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
FieldName = str | None


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-tokenkit")] = False) -> None:
    """Text to token ids: encode, decode, fingerprint tokenizers, count the tokens of data sets."""


@app.command()
def encode(
    tokenizer: TokenizerName,
    text: Annotated[str, typer.Argument(help="Any text; special tokens in it count as such, none is added.")],
    as_json: AsJson = False,
) -> None:
    """Print the ids of a text."""
    loaded = _load(tokenizer)
    ids = loaded.encode(_checked(text))
    if as_json:
        show(json.dumps({"ids": ids, "tokens": [loaded.decode([number]) for number in ids], "count": len(ids)}))
    else:
        show(",".join(map(str, ids)))


@app.command()
def decode(
    tokenizer: TokenizerName,
    ids: Annotated[str, typer.Option("--ids", help="Ids, separated by commas or spaces.")],
    as_json: AsJson = False,
) -> None:
    """Print the text of ids."""
    loaded = _load(tokenizer)
    text = loaded.decode(_parse_ids(ids, loaded))
    show(json.dumps({"text": text}) if as_json else text)


@app.command()
def fingerprint(
    tokenizer: TokenizerName,
    as_json: AsJson = False,
    save: Annotated[Path | None, typer.Option("--save", help="Write the fingerprint to this file.")] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Compare with a saved fingerprint; exit 1 if it differs.")
    ] = None,
) -> None:
    """Print what makes a tokenizer that tokenizer, by component."""
    from lazarus_tokenkit.fingerprint import compute_fingerprint, save_fingerprint, verify_fingerprint

    found = compute_fingerprint(_load(tokenizer))
    if verify is not None:
        verify_fingerprint(found, verify)
        say(f"{tokenizer} is the tokenizer of {verify}")
    if save is not None:
        save_fingerprint(found, save)
        say(f"wrote {save}")
    if as_json:
        show(json.dumps(found.to_json(), indent=2))
    else:
        digests = {"fingerprint": found.fingerprint, "structural": found.structural} | dict(found.components)
        show("\n".join(f"{name:<15} {digest}" for name, digest in digests.items()))


@lengths_app.command("build")
def build_lengths(
    data: Annotated[
        list[Path], typer.Option("-d", "--data", help="A .jsonl or .jsonl.gz file; give more to join them.")
    ],
    tokenizer: TokenizerName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The length cache to write.")],
    prompt_field: Annotated[FieldName, typer.Option(help="Field of the question [default: prompt].")] = None,
    completion_field: Annotated[FieldName, typer.Option(help="Field of the answer [default: completion].")] = None,
    text_field: Annotated[FieldName, typer.Option(help="Field of a document [default: text].")] = None,
    messages_field: Annotated[FieldName, typer.Option(help="Field of a conversation [default: messages].")] = None,
    template: Annotated[
        str | None,
        typer.Option(help="`chatml`, `plain`, `own` or a Jinja file [default: the tokenizer's own, else plain]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Encode a data set and write the length of every sample."""
    from lazarus_tokenkit.encode import Encoder
    from lazarus_tokenkit.lengths import build_lengths as build
    from lazarus_tokenkit.readers import FieldNames, count_lines

    fields = FieldNames(text=text_field, messages=messages_field, prompt=prompt_field, completion=completion_field)
    encoder = Encoder(_load(tokenizer), template)
    with progress("encoding", total=count_lines(data), unit="samples") as advance:
        header = build(data, encoder, output, fields, advance)
    stats = _stats(output)
    digests = {"data": header.data, "template": header.template, "tokenizer": header.tokenizer}
    if as_json:
        receipt = {name: value for name, value in stats.to_json().items() if name != "histogram"}
        show(json.dumps(receipt | digests | {"encoding": header.encoding}, indent=2))
        return
    template_name = encoder.chat_template.name
    show(f"{stats.headline()}, longest {stats.max:,}, template `{template_name}`")
    show("  ".join(f"{name} {digest.removeprefix('sha256:')[:16]}" for name, digest in digests.items()))
    say(f"wrote {output}; next: lazarus data batchplan build -l {output} -e 1 -b {_budget(stats.max)} -o PLAN")


@lengths_app.command("stats")
def show_stats(
    lengths: Annotated[Path, typer.Option("-l", "--lengths", help="A length cache.")], as_json: AsJson = False
) -> None:
    """Print quantiles and a histogram of a length cache."""
    stats = _stats(lengths)
    show(json.dumps(stats.to_json(), indent=2) if as_json else stats.text())


def main() -> None:
    """The console script."""
    run(app, "lazarus-tokenkit")


def _load(name: str) -> "Tokenizer":
    from lazarus_tokenkit.load import load_tokenizer

    return load_tokenizer(name)


def _stats(path: Path) -> "LengthStats":
    from lazarus_plan import read_lengths
    from lazarus_tokenkit.stats import LengthStats

    return LengthStats.of(read_lengths(path))


def _budget(longest: int) -> int:
    """A token budget to suggest: 8,192, or what the longest sample needs."""
    return max(8192, -(-longest // 64) * 64)


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenkitError(f"the text is not UTF-8 from character {error.start + 1} on", "LT-E501") from error
    return text


def _parse_ids(text: str, tokenizer: "Tokenizer") -> list[int]:
    try:
        ids = [int(number) for number in text.replace(",", " ").split()]
    except ValueError as error:
        raise TokenkitError(f"--ids wants integers, such as 1,2,3: {error}", "LT-E501") from error
    for number in ids:
        if not 0 <= number < tokenizer.vocab_size:
            raise TokenkitError(
                f"id {number} is outside 0..{tokenizer.vocab_size - 1} of `{tokenizer.name}`", "LT-E501"
            )
    return ids
