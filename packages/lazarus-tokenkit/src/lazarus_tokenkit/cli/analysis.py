"""`analyze`: what a tokenizer makes of a corpus, in numbers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lazarus_core.atomic import whole_file
from lazarus_core.cli_options import Force, shared_options
from lazarus_core.console import say, show
from lazarus_tokenkit.cli.options import AsJson, Data, TokenizerName, load, with_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazarus_tokenkit.analysis.page import Analysis
    from lazarus_tokenkit.samples.schemas import FieldNames

MAX_ALPHA = 1000.0
"""Beyond it the Renyi entropy is, but for a thousandth, that of the most frequent token; infinity is no JSON."""


Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write one self-contained page with the histograms to this file."),
]


class Page(NamedTuple):
    """Where a page goes, if one is wanted."""

    path: Path | None
    force: bool

    def check(self, inputs: "Sequence[Path]") -> None:
        """Refuses a file that may not be replaced, before the analysis, which takes its time."""
        from lazarus_core.html import PAGE
        from lazarus_core.outputs import check_output

        if self.path is not None:
            check_output(self.path, PAGE, inputs=inputs, force=self.force)


def _page_options(html: Html = None, force: Force = False) -> Page:
    if html is None and force:
        raise typer.BadParameter("--force has no effect without --html")
    return Page(html, force)


with_page = shared_options("page", _page_options)
"""Gives a command the options of a page, and what they say as its `page`."""


@with_fields
@with_page
def coverage(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    by_file: Annotated[
        bool, typer.Option("--by-file", help="Each file by itself, and the worst against the best.")
    ] = False,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Text a token carries, words that break, what is lost."""
    from lazarus_tokenkit.analysis.coverage import CoverageByFile, analyze_coverage, worst_group_ratio

    if not by_file:
        documents = _read(data, fields, page)
        _finish(analyze_coverage(load(tokenizer), documents), tokenizer, documents, as_json, page)
        return
    loaded = load(tokenizer)
    are_named_apart = len({path.name for path in data}) == len(data)
    texts = {path.name if are_named_apart else str(path): _read([path], fields, page) for path in data}
    groups = {name: analyze_coverage(loaded, documents) for name, documents in texts.items()}
    documents = [text for each in texts.values() for text in each]
    _finish(CoverageByFile(groups, worst_group_ratio(groups)), tokenizer, documents, as_json, page)


@with_fields
@with_page
def entropy(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    alpha: Annotated[float, typer.Option("--alpha", help="Of the Renyi figures.", min=0.0, max=MAX_ALPHA)] = 2.5,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """How evenly the vocabulary is used, in bits."""
    from lazarus_tokenkit.analysis.entropy import analyze_entropy

    documents = _read(data, fields, page)
    _finish(analyze_entropy(load(tokenizer), documents, alpha), tokenizer, documents, as_json, page)


@with_fields
@with_page
def fit_score(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    seed: Annotated[int, typer.Option("--seed", help="Of the halves and the resampling.")] = 0,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """0 to 100, against a tokenizer made for the corpus."""
    from lazarus_tokenkit.analysis.fit import calculate_fit_score

    documents = _read(data, fields, page)
    _finish(calculate_fit_score(load(tokenizer), documents, seed=seed), tokenizer, documents, as_json, page)


@with_fields
@with_page
def efficiency(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    context: Annotated[int, typer.Option("--context", help="Tokens that a document has to fit into.", min=1)] = 2048,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Lengths; what equations, steps and tool calls cost."""
    from lazarus_tokenkit.analysis.efficiency import analyze_efficiency

    documents = _read(data, fields, page)
    _finish(analyze_efficiency(load(tokenizer), documents, context), tokenizer, documents, as_json, page)


@with_fields
@with_page
def diff(
    first: Annotated[str, typer.Option("-t1", "--first", help="A tokenizer.")],
    second: Annotated[str, typer.Option("-t2", "--second", help="Another.")],
    data: Annotated[
        list[Path] | None, typer.Option("-d", "--data", help="A data file; again to join. None: vocabularies only.")
    ] = None,
    *,
    fields: "FieldNames",
    as_json: AsJson = False,
    page: Page,
) -> None:
    """Where two tokenizers differ: vocabularies, and a corpus."""
    from lazarus_tokenkit.analysis.comparison import compare_tokenizers
    from lazarus_tokenkit.analysis.vocabularies import diff_vocabularies

    page.check(data or [])
    one, other = load(first), load(second)
    words = diff_vocabularies(one, other)
    documents = _read(data, fields, page) if data else []
    found = compare_tokenizers(one, other, documents) if data else None
    if as_json:
        show(json.dumps((found.to_json() if found else {}) | {"vocabulary": words.to_json()}, indent=2))
    else:
        show("\n\n".join(each.text() for each in (found, words) if each))
    if page.path is not None:
        from lazarus_tokenkit.analysis.page import diff_page

        _write(page.path, diff_page((one, other), documents, words, found))


@with_fields
@with_page
def vocab_suggest(
    tokenizer: TokenizerName,
    data: Data,
    fields: "FieldNames",
    count: Annotated[int, typer.Option("-n", "--count", help="How many.", min=1)] = 20,
    as_json: AsJson = False,
    *,
    page: Page,
) -> None:
    """Strings worth a token, by what they really save."""
    from lazarus_tokenkit.analysis.induction import suggest_vocabulary

    documents = _read(data, fields, page)
    _finish(suggest_vocabulary(load(tokenizer), documents, count), tokenizer, documents, as_json, page)


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
    """Words out of vocabulary, rare or broken most."""
    from lazarus_tokenkit.analysis.words import analyze_words

    documents = _read(data, fields, page)
    _finish(analyze_words(load(tokenizer), documents), tokenizer, documents, as_json, page)


def _read(data: list[Path], fields: Any, page: Page) -> list[str]:
    from lazarus_tokenkit.samples.documents import read_documents

    page.check(data)
    return list(read_documents(data, fields))


def _finish(found: "Analysis", tokenizer: str, documents: list[str], as_json: bool, page: Page) -> None:
    show(json.dumps(found.to_json(), indent=2) if as_json else found.text())
    if page.path is not None:
        from lazarus_tokenkit.analysis.page import analysis_page

        _write(page.path, analysis_page(load(tokenizer), documents, found))


def _write(path: Path, content: str) -> None:
    with whole_file(path) as stream:
        stream.write(content.encode())
    say(f"wrote {path}")
