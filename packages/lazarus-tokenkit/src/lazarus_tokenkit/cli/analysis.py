"""The commands of `analyze`: metrics of a tokenizer on a corpus."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lazarus_core.atomic import whole_file
from lazarus_core.commands import Force, shared_options
from lazarus_core.console import say, show, show_table
from lazarus_tokenkit.cli.options import AsJson, Data, TokenizerName, check_fields, load, with_fields
from lazarus_tokenkit.tables import heads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazarus_tokenkit.analysis.page import Analysis
    from lazarus_tokenkit.samples.schemas import FieldNames

MAX_ALPHA = 1000.0
"""Above this order the Renyi entropy is within 0.1 % of its limit, and JSON cannot represent infinity."""


Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write an HTML page with tables and histograms to this file."),
]


class Page(NamedTuple):
    """Options of the HTML page.

    Args:
        path: Output file, or None for no page.
        force: Whether to replace an existing file that is not a page.
    """

    path: Path | None
    force: bool

    def check(self, inputs: "Sequence[Path]") -> None:
        """Refuses an output that may not be replaced, before the analysis starts."""
        from lazarus_core.html import PAGE
        from lazarus_core.outputs import check_output

        if self.path is not None:
            check_output(self.path, PAGE, inputs=inputs, force=self.force)


def _page_options(html: Html = None, force: Force = False) -> Page:
    if html is None and force:
        raise typer.BadParameter("--force has no effect without --html")
    return Page(html, force)


with_page = shared_options("page", _page_options)
"""Adds the options of an HTML page to a command. The command receives a `Page` as its parameter `page`."""


@with_fields
@with_page
def coverage(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    by_file: Annotated[
        bool, typer.Option("--by-file", help="Analyze each file separately and compare the worst with the best.")
    ] = False,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Measure text per token, split words and lost text.

    Example: -t gpt2 -d corpus.txt --html coverage.html
    """
    from lazarus_tokenkit.analysis.coverage import CoverageByFile, analyze_coverage, worst_group_ratio

    if not by_file:
        documents = _read(data, fields, page)
        _finish(analyze_coverage(load(tokenizer), documents), tokenizer, (data, documents), as_json, page)
        return
    loaded = load(tokenizer)
    are_named_apart = len({path.name for path in data}) == len(data)
    texts = {path.name if are_named_apart else str(path): _read([path], fields, page) for path in data}
    groups = {name: analyze_coverage(loaded, documents) for name, documents in texts.items()}
    documents = [text for each in texts.values() for text in each]
    _finish(CoverageByFile(groups, worst_group_ratio(groups)), tokenizer, (data, documents), as_json, page)


@with_fields
@with_page
def entropy(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    alpha: Annotated[float, typer.Option("--alpha", help="Order of the Renyi entropy.", min=0.0, max=MAX_ALPHA)] = 2.5,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Measure how evenly the vocabulary is used.

    Example: -t gpt2 -d corpus.txt
    """
    from lazarus_tokenkit.analysis.entropy import analyze_entropy

    documents = _read(data, fields, page)
    _finish(analyze_entropy(load(tokenizer), documents, alpha), tokenizer, (data, documents), as_json, page)


@with_fields
@with_page
def fit_score(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the halves and the resampling.", min=0)] = 0,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Score the fit to a corpus, 0 to 100.

    The reference is a byte-level BPE of the same size, trained on the corpus. The lines of a single text are its documents.

    Example: -t gpt2 -d corpus.txt
    """
    from lazarus_tokenkit.analysis.fit import calculate_fit_score

    documents = _read(data, fields, page)
    if len(documents) == 1:
        lines = [line for line in documents[0].splitlines(keepends=True) if line.strip()]
        if len(lines) > 1:
            say(f"one text: its {len(lines):,} lines are the documents")
            documents = lines
    _finish(calculate_fit_score(load(tokenizer), documents, seed=seed), tokenizer, (data, documents), as_json, page)


@with_fields
@with_page
def efficiency(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    context: Annotated[int, typer.Option("--context", help="Length of the context in tokens.", min=1)] = 2048,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Measure lengths, and tokens of equations and steps.

    Example: -t gpt2 -d train.jsonl --context 2048
    """
    from lazarus_tokenkit.analysis.efficiency import analyze_efficiency

    documents = _read(data, fields, page)
    _finish(analyze_efficiency(load(tokenizer), documents, context), tokenizer, (data, documents), as_json, page)


@with_fields
@with_page
def diff(
    first: Annotated[str, typer.Option("-t1", "--first", help="First tokenizer, in the forms of --tokenizer.")],
    second: Annotated[str, typer.Option("-t2", "--second", help="Second tokenizer, in the forms of --tokenizer.")],
    data: Annotated[
        list[Path] | None,
        typer.Option("-d", "--data", help="Data file or directory. Without it, only vocabularies are compared."),
    ] = None,
    *,
    fields: "FieldNames",
    as_json: AsJson = False,
    page: Page,
) -> None:
    """Compare two tokenizers: vocabularies and a corpus.

    Example: --first gpt2 --second my-tokenizer -d corpus.txt
    """
    from lazarus_tokenkit.analysis.comparison import compare_tokenizers
    from lazarus_tokenkit.analysis.vocabularies import diff_vocabularies

    check_fields(fields, data)
    page.check(data or [])
    one, other = load(first), load(second)
    words = diff_vocabularies(one, other)
    documents = _read(data, fields, page) if data else []
    found = compare_tokenizers(one, other, documents) if data else None
    if as_json:
        show(json.dumps((found.to_json() if found else {}) | {"vocabulary": words.to_json()}, indent=2))
    else:
        reports = [each for each in (found, words) if each]
        titles = [line for each in reports for line in heads(each.blocks())]
        show_table("\n\n".join(each.text() for each in reports), titles)
    if page.path is not None:
        from lazarus_core.html import this_command
        from lazarus_tokenkit.analysis.page import diff_page

        files = [path.name for path in data or []]
        _write(page.path, diff_page((one, other), documents, words, found, files=files, origin=this_command()))


@with_fields
@with_page
def vocab_suggest(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    count: Annotated[int, typer.Option("-n", "--count", help="Largest number of suggestions.", min=1)] = 20,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Suggest strings to add, by the tokens they save.

    Example: -t gpt2 -d corpus.txt --count 50
    """
    from lazarus_tokenkit.analysis.suggestions import suggest_vocabulary

    documents = _read(data, fields, page)
    _finish(suggest_vocabulary(load(tokenizer), documents, count), tokenizer, (data, documents), as_json, page)


@with_fields
@with_page
def words(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Find words that are unknown, rare or split most.

    Example: -t gpt2 -d corpus.txt
    """
    from lazarus_tokenkit.analysis.words import analyze_words

    documents = _read(data, fields, page)
    _finish(analyze_words(load(tokenizer), documents), tokenizer, (data, documents), as_json, page)


def _read(data: list[Path], fields: Any, page: Page) -> list[str]:
    from lazarus_tokenkit.samples.documents import read_documents

    page.check(data)
    return list(read_documents(data, fields))


def _finish(found: "Analysis", tokenizer: str, corpus: tuple[list[Path], list[str]], as_json: bool, page: Page) -> None:
    if as_json:
        show(json.dumps(found.to_json(), indent=2))
    else:
        show_table(found.text(), heads(found.blocks()))
    if page.path is not None:
        from lazarus_core.html import this_command
        from lazarus_tokenkit.analysis.page import analysis_page

        data, documents = corpus
        names = [path.name for path in data]
        _write(page.path, analysis_page(load(tokenizer), documents, found, names=names, origin=this_command()))


def _write(path: Path, content: str) -> None:
    with whole_file(path) as stream:
        stream.write(content.encode())
    say(f"wrote {path}")
