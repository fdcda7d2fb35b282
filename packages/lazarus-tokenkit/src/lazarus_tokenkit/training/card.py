"""The report card of a trained tokenizer, as Markdown and JSON: its inputs, settings and metrics.

The card is saved in the tokenizer's folder with the fingerprint. The metrics are measured on held-out documents, file by
file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_folder
from lazarus_core.outputs import check_folder
from lazarus_tokenkit.analysis.coverage import Coverage, analyze_coverage, worst_group_ratio
from lazarus_tokenkit.fingerprint import TokenizerFingerprint, compute_fingerprint, save_fingerprint
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

CARD, FIGURES, LOCK = "report.md", "report.json", "fingerprint.json"


@dataclass(frozen=True)
class ReportCard:
    """Inputs, settings and metrics of a trained tokenizer.

    Args:
        kind: `bpe`, `sentencepiece` or `char`.
        config: Training settings.
        files: Name, size in bytes and SHA-256 of each training file.
        fingerprint: Fingerprint of the tokenizer.
        vocab_size: Number of embedding rows.
        domains: Coverage of the held-out documents by file name.
        versions: Versions of the packages that affect the result.
    """

    kind: str
    config: dict[str, Any]
    files: tuple[dict[str, Any], ...]
    fingerprint: TokenizerFingerprint
    vocab_size: int
    domains: dict[str, Coverage]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `report.json`."""
        members = asdict(self) | {"fingerprint": self.fingerprint.to_json(), "files": list(self.files)}
        return members | {"worst_domain_ratio": worst_group_ratio(self.domains)}

    def markdown(self) -> str:
        """Returns the content of `report.md`."""
        rows = [
            f"| {name} | {each.bytes:,} | {_figure(each.bytes_per_token)} | {_figure(each.fertility)} |"
            f" {_share(each.unk_rate)} | {_share(each.byte_fallback_rate)} | {_share(each.lossless_rate)} |"
            for name, each in self.domains.items()
        ]
        if not rows:
            rows = ["| none: too few documents | - | - | - | - | - | - |"]
        sources = [f"- `{file['name']}`, {file['bytes']:,} bytes, sha256 `{file['sha256']}`" for file in self.files]
        return "\n".join(
            [
                f"# Tokenizer {self.fingerprint.short}",
                "",
                f"{self.kind}, {self.vocab_size:,} ids, fingerprint `{self.fingerprint.fingerprint}`",
                "",
                "| held out | bytes | bytes/token | tokens/word | unknown | byte fallback | lossless |",
                "|---|---|---|---|---|---|---|",
                *rows,
                "",
                "Trained on:",
                "",
                *sources,
                "",
                f"Configuration: `{json.dumps(self.config, sort_keys=True, ensure_ascii=False)}`",
                "",
                f"Versions: {', '.join(f'{name} {number}' for name, number in sorted(self.versions.items()))}",
                "",
            ]
        )


def make_card(
    tokenizer: HuggingFaceTokenizer,
    kind: str,
    config: dict[str, Any],
    files: Sequence[dict[str, Any]],
    held_out: Mapping[str, Sequence[str]],
) -> ReportCard:
    """Measures a trained tokenizer on held-out documents.

    Args:
        tokenizer: The trained tokenizer.
        kind: `bpe`, `sentencepiece` or `char`.
        config: Training settings.
        files: Name, size in bytes and SHA-256 of each training file.
        held_out: Held-out documents by file name.
    """
    engine = {"sentencepiece": "sentencepiece"}.get(kind, "tokenizers")
    return ReportCard(
        kind=kind,
        config=config,
        files=tuple(files),
        fingerprint=compute_fingerprint(tokenizer),
        vocab_size=tokenizer.vocab_size,
        domains={name: analyze_coverage(tokenizer, documents) for name, documents in held_out.items() if documents},
        versions={name: version(name) for name in sorted({engine, "tokenizers", "lazarus-tokenkit"})},
    )


def freeze(tokenizer: HuggingFaceTokenizer, card: ReportCard, directory: Path) -> None:
    """Writes tokenizer, card and fingerprint into a new folder, which is created atomically.

    Args:
        tokenizer: The trained tokenizer.
        card: Its report card.
        directory: The new folder.

    Raises:
        OutputTaken: The folder exists.
    """
    check_folder(directory, "a trained tokenizer", code="LT-E118")
    with whole_folder(directory) as folder:
        tokenizer.save(folder)
        (folder / FIGURES).write_text(json.dumps(card.to_json(), indent=2) + "\n", "utf-8")
        (folder / CARD).write_text(card.markdown(), "utf-8")
        save_fingerprint(card.fingerprint, folder / LOCK)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3f} %"
