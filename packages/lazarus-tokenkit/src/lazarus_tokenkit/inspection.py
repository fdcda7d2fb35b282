"""Inspects data files before training: form, counts, lengths, problems, and the first rows as a model receives them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lazarus_tokenkit.encoding.encoder import Encoder
from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.lengths.stats import QUANTILES
from lazarus_tokenkit.samples.documents import sample_text
from lazarus_tokenkit.samples.files import Paths
from lazarus_tokenkit.samples.kinds import (
    ChatSample,
    CompletionSample,
    IdsSample,
    LabelledSample,
    PreferenceSample,
    PromptSample,
    Sample,
    TextSample,
)
from lazarus_tokenkit.samples.placed_row import NO_FILE
from lazarus_tokenkit.samples.read import Row, read_rows
from lazarus_tokenkit.samples.schemas import FieldNames
from lazarus_tokenkit.samples.useless import has_empty_answer, has_equal_answers
from lazarus_tokenkit.tables import aligned, number

KINDS: dict[type[Any], str] = {
    TextSample: "text",
    ChatSample: "messages",
    CompletionSample: "prompt and completion",
    PreferenceSample: "preference",
    LabelledSample: "prompt, completion and label",
    PromptSample: "prompt",
    IdsSample: "token ids",
}
NUM_PLACES = 3
"""Number of rows that are listed for each problem."""
NUM_SHOWN = 1200
"""Largest number of characters that are shown of a row."""


@dataclass(frozen=True)
class Inspection:
    """The result of an inspection.

    Args:
        form: Form of the rows, or None if no row could be read.
        samples: Number of rows read.
        lengths: Quantiles of the lengths by name (`p50`, `p90`, `p99`, `max`) in `unit`; empty without rows.
        unit: `characters` or `tokens`.
        roles: Number of messages by role.
        problems: Description of each problem to the number of rows and the places of the first rows.
        first_rows: The first rows, rendered and decoded.
        error: The error that ended the reading, or None.
        code: The code of that error, or None.
    """

    form: str | None
    samples: int
    lengths: dict[str, int]
    unit: str
    roles: dict[str, int]
    problems: dict[str, tuple[int, tuple[str, ...]]]
    first_rows: tuple[str, ...]
    error: str | None
    code: str | None = None

    def to_json(self) -> dict[str, Any]:
        problems = {words: {"rows": count, "places": list(places)} for words, (count, places) in self.problems.items()}
        members = {name: getattr(self, name) for name in ("form", "samples", "lengths", "unit", "roles")}
        return members | {
            "problems": problems,
            "first_rows": list(self.first_rows),
            "error": self.error,
            "code": self.code,
        }

    def text(self) -> str:
        """Formats the result as a table, followed by warnings and the first rows. The error is not part of it."""
        rows = [("form", self.form or "no row could be read"), ("samples", number(self.samples))]
        rows += [(name, f"{length:,} {self.unit}") for name, length in self.lengths.items()]
        rows += [(f"role {role}", number(count)) for role, count in self.roles.items()]
        lines = [aligned(rows)]
        for words, (count, places) in self.problems.items():
            more = ", .." if count > len(places) else ""
            lines.append(f"warning: {words}: {count:,} {'row' if count == 1 else 'rows'} ({', '.join(places)}{more})")
        lines += [f"\n--- row {place} ---\n{shown}" for place, shown in enumerate(self.first_rows)]
        return "\n".join(lines)


def inspect_samples(
    paths: Paths, fields: FieldNames | None, encoder: Encoder, num_rows: int = 2, *, with_tokens: bool
) -> Inspection:
    """Inspects data files up to their end or to the first invalid row.

    Args:
        paths: Data files.
        fields: Names of the fields, or None for the standard names.
        encoder: Renders the first rows and counts tokens.
        num_rows: Number of rows to render, at least 0.
        with_tokens: Whether lengths are in tokens instead of characters.

    Raises:
        TokenkitError: A file does not exist.
    """
    lengths: list[int] = []
    roles: Counter[str] = Counter()
    found: dict[str, list[str]] = {}
    seen: dict[bytes, str] = {}
    shown: list[str] = []
    form: str | None = None
    failure: TokenkitError | None = None
    try:
        for row in read_rows(paths, fields):
            form = KINDS[type(row.sample)]
            lengths.append(len(encoder.encode(row.sample).ids) if with_tokens else len(_text(row.sample, encoder)))
            roles.update(message.role for message in _messages(row.sample))
            if len(shown) < num_rows:
                shown.append(_shown(row.sample, encoder))
            for problem in _problems(row, seen, encoder):
                found.setdefault(problem, []).append(row.place)
    except TokenkitError as error:
        if error.code == NO_FILE:
            raise
        failure = error
    sizes = np.array(lengths)
    nearest_rank = "inverted_cdf"  # the same quantiles as `LengthStats`
    quantiles = {f"p{q}": int(np.percentile(sizes, q, method=nearest_rank)) for q in QUANTILES} if lengths else {}
    return Inspection(
        form=form,
        samples=len(lengths),
        lengths=quantiles | ({"max": int(sizes.max())} if lengths else {}),
        unit="tokens" if with_tokens else "characters",
        roles=dict(roles.most_common()),
        problems={words: (len(places), tuple(places[:NUM_PLACES])) for words, places in found.items()},
        first_rows=tuple(shown),
        error=None if failure is None else failure.message,
        code=None if failure is None else failure.code,
    )


def _problems(row: Row, seen: dict[bytes, str], encoder: Encoder) -> list[str]:
    sample = row.sample
    problems: list[str] = []
    if seen.setdefault(sample.digest[:8], row.place) != row.place:
        problems.append("the same content as an earlier row")
    if has_equal_answers(sample):
        problems.append("chosen and rejected are equal")
    if isinstance(sample, IdsSample):
        return problems
    if has_empty_answer(sample) or not sample_text(sample).strip():
        problems.append("empty text or answer: no token to learn from")
    text = sample_text(sample)
    if any(special in text for special in encoder.tokenizer.special_tokens):
        problems.append("contains the text of a special token, which is encoded as ordinary text")
    if "\ufffd" in text:
        problems.append("contains U+FFFD, the replacement for a character that could not be decoded")
    return problems


def _text(sample: Sample, encoder: Encoder) -> str:
    return (
        encoder.tokenizer.decode(encoder.encode(sample).ids) if isinstance(sample, IdsSample) else sample_text(sample)
    )


def _messages(sample: Sample) -> Sequence[Any]:
    match sample:
        case TextSample() | IdsSample():
            return ()
        case PreferenceSample():
            return (*sample.prompt, *sample.chosen, *sample.rejected)
        case LabelledSample():
            return (*sample.prompt, *sample.completion)
        case _:
            return sample.messages


def _shown(sample: Sample, encoder: Encoder) -> str:
    try:
        encoded = encoder.encode(sample)
    except TokenkitError as error:
        return f"cannot be rendered: {error.message}"
    text = encoder.tokenizer.decode(encoded.ids)
    return text if len(text) <= NUM_SHOWN else f"{text[:NUM_SHOWN]} .. ({len(text):,} characters)"
