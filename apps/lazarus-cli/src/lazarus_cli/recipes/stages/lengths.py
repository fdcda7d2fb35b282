"""`lengths`: measures rows in tokens, with the template and the fields that training uses as well."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from lazarus_cli.recipes.stage import Context, Inputs, Reads, Stage, StageSettings
from lazarus_core.canonical import canonical_digest
from lazarus_tokenkit import Encoder, FieldNames, build_lengths, load_tokenizer

ENDING = ".lengths.jsonl"


class LengthsSettings(StageSettings, frozen=True):
    """Lengths of rows in tokens."""

    type: Literal["lengths"] = "lengths"
    data: Annotated[str, Reads("rows")]
    """Rows to measure."""
    tokenizer: Annotated[str, Reads("tokenizer")]
    """Tokenizer."""
    template: str | None = None
    """Name of a chat template. Default: the tokenizer's own, else `plain`."""
    prompt_field: str | None = None
    """Field of the question. Default: the standard names."""
    completion_field: str | None = None
    """Field of the answer. Default: the standard names."""
    messages_field: str | None = None
    """Field of the conversation. Default: the standard names."""
    text_field: str | None = None
    """Field of the document. Default: the standard names."""
    label_field: str | None = None
    """Field that is true for desirable answers (kto of single answers). Default: pairs of answers."""

    def fields(self) -> FieldNames:
        """Names of the fields, for the reader."""
        return FieldNames(
            text=self.text_field,
            messages=self.messages_field,
            prompt=self.prompt_field,
            completion=self.completion_field,
            label=self.label_field,
        )


class LengthsStage(Stage[LengthsSettings]):
    """Rows and a tokenizer to a length cache for each file."""

    kind = "lengths"
    packages = ("lazarus-plan", "lazarus-tokenkit", "tokenizers")
    is_resumable = True

    @classmethod
    def settings_type(cls) -> type[LengthsSettings]:
        """The settings."""
        return LengthsSettings

    def check(self, settings: LengthsSettings) -> None:
        """Refuses names of fields of different kinds of samples, and unknown templates."""
        settings.fields()
        if settings.template is not None:
            from lazarus_tokenkit.templates import REGISTRY

            if settings.template not in REGISTRY:
                raise ValueError(f"`template` is {settings.template!r}: give one of {', '.join(REGISTRY)}, or none")

    def run(self, settings: LengthsSettings, inputs: Inputs, folder: Path, context: Context) -> None:
        """Measures every file that an earlier run has not finished."""
        encoder = Encoder(load_tokenizer(str(inputs["tokenizer"][0].path)), template=settings.template)
        rows = inputs["data"][0]
        folder.mkdir(parents=True, exist_ok=True)
        done = 0
        for number, path in enumerate(rows.paths):
            output = folder / f"{rows.name}-{number:05}{ENDING}"
            if not output.exists():  # it is written whole

                def advance(count: int) -> None:
                    nonlocal done
                    done += count
                    context.report(done, None, "rows", "")

                build_lengths(path, encoder, output, settings.fields(), advance)

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """A length cache for each file of the rows, in their order."""
        return tuple(sorted(folder.glob(f"*{ENDING}")))

    def files(self, folder: Path) -> list[Path]:
        """The length caches."""
        return list(self.paths(folder))

    def identity(self, folder: Path, digests: Mapping[str, str], part: str = "") -> str:
        """Digest of the lengths and of the digests in their heads; names of files do not count."""
        found: list[Any] = []
        for path in self.paths(folder):
            with path.open("rb") as stream:
                head = json.loads(stream.readline())
                head.pop("parts", None)
                found.append([head, hashlib.file_digest(stream, "sha256").hexdigest()])
        return canonical_digest(found)

    def summary(self, folder: Path) -> str:
        """Number of samples and of tokens."""
        from lazarus_plan import read_lengths

        caches = [read_lengths(path) for path in self.paths(folder)]
        count = sum(map(len, caches))
        return f"{count:,} sample{'' if count == 1 else 's'}, {sum(int(each.length.sum()) for each in caches):,} tokens"
