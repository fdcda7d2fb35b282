"""`card.md`: the data card, in Markdown."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lazarus_corpus.errors import SettingError
from lazarus_corpus.output.removals import Removals

LANGUAGE_DOCUMENTS = 2_000
"""Documents at the start of the first shard whose language is detected; their order is random."""


def card_text(manifest: dict[str, Any], removed: Removals, digest: str, folder: Path, tokenizer: str | None) -> str:
    """The data card of a corpus.

    Args:
        manifest: Content of the manifest.
        removed: Counts and examples of removed documents.
        digest: Digest of the manifest.
        folder: The corpus, with its shards.
        tokenizer: Tokenizer for the number of tokens; None for none.
    """
    lines = [
        "# Data card",
        "",
        f"{manifest['documents']:,} documents with {manifest['characters']:,} characters in {len(manifest['shards'])} shards.",
        f"Digest of the corpus: `{digest}`.",
        "",
        "## Sources",
        "",
        "| source | licence | documents read | documents kept | characters kept | weight |",
        "|---|---|---:|---:|---:|---:|",
        *(
            f"| {_cell(each['name'])} | {_cell(each['license'] or 'not stated')} | {each['documents_read']:,}"
            f" | {each['documents']:,} | {each['characters']:,} | {each['weight']:g} |"
            for each in manifest["sources"]
        ),
        "",
        "## Splits",
        "",
        "| split | documents | characters |",
        "|---|---:|---:|",
        *_splits(manifest["shards"]),
        "",
        "## Languages",
        "",
        *_languages(folder, manifest["shards"]),
        "",
        *_tokens(folder, manifest["shards"], tokenizer),
        "## Changes",
        "",
        *([f"- {name}: {count:,}" for name, count in manifest["changed"].items()] or ["None."]),
        "",
        "## Removed documents",
        "",
        *_removed(removed),
        *_contamination(manifest.get("contamination")),
    ]
    if manifest["flagged"]:
        lines += ["", f"{manifest['flagged']:,} documents are flagged as contaminated: `flagged.jsonl`."]
    return "\n".join(lines) + "\n"


def _splits(shards: Sequence[dict[str, Any]]) -> list[str]:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for shard in shards:
        total = totals[shard["name"].partition("-")[0]]
        total[0] += shard["documents"]
        total[1] += shard["characters"]
    return [f"| {name} | {count:,} | {size:,} |" for name, (count, size) in totals.items()]


def texts_of(folder: Path, shards: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The texts of a corpus in its order.

    Args:
        folder: The corpus.
        shards: Its shards, as in the manifest.
    """
    for shard in shards:
        with gzip.open(folder / "shards" / shard["name"], "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def _languages(folder: Path, shards: Sequence[dict[str, Any]]) -> list[str]:
    from collections import Counter
    from itertools import islice

    from lazarus_corpus.filters.language import detector

    try:
        detect = detector()
    except SettingError:
        return ["Not detected: the extra `language` is not installed."]
    found = Counter(detect(text)[0] for text in islice(texts_of(folder, shards), LANGUAGE_DOCUMENTS))
    total = sum(found.values())
    if not total:
        return ["None."]
    return [
        f"Detected in {total:,} documents by fastText's lid.176.",
        "",
        "| language | share |",
        "|---|---:|",
        *(
            f"| {name} | {count / total:.1%} |"
            for name, count in sorted(found.items(), key=lambda each: (-each[1], each[0]))
        ),
    ]


def _tokens(folder: Path, shards: Sequence[dict[str, Any]], tokenizer: str | None) -> list[str]:
    if tokenizer is None:
        return []
    from lazarus_tokenkit import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    total = sum(len(loaded.encode(text)) for text in texts_of(folder, shards))
    return ["## Tokens", "", f"{total:,} tokens of `{tokenizer}`.", ""]


def _contamination(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    lines = [
        "",
        "## Contamination",
        "",
        f"{found['texts']:,} texts of evaluation sets were compared with every document.",
    ]
    if found["too_short"]:
        lines.append(f"{found['too_short']:,} more are too short to be compared.")
    if found["recall"]:
        lines += [
            f"Recall: {found['injected']:,} texts were put into documents of this corpus in each form, and looked for.",
            "",
            "| form | found |",
            "|---|---:|",
            *(f"| {form} | {share:.1%} |" for form, share in found["recall"].items()),
        ]
    return lines


def _removed(removed: Removals) -> list[str]:
    if not removed.counts:
        return ["None."]
    lines = ["Each with its witness in `removed.jsonl`.", "", "| rule | documents |", "|---|---:|"]
    lines += [f"| {_cell(rule)} | {count:,} |" for rule, count in removed.counts.items()]
    for rule, found in removed.examples.items():
        lines += ["", f"### {rule}", ""]
        for each in found:
            start = " ".join(each.example.split())[:80].replace("`", "'")
            lines.append(
                f"- `{each.id[:40]}` ({_cell(each.witness)[:80]}): {'`' + start + '`' if start else 'no text'}"
            )
    return lines


def _cell(text: str) -> str:
    """A text in one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
