"""Compares two vocabularies: shared pieces, pieces of one vocabulary only, and changed ids."""

from dataclasses import asdict, dataclass
from typing import Any

from lazarus_tokenkit.tables import Table, as_text, number
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

NUM_SHOWN = 10


@dataclass(frozen=True)
class VocabularyDiff:
    """The differences of two vocabularies. Pieces are compared by their bytes.

    Args:
        names: Names of the two tokenizers.
        sizes: Number of pieces of each.
        shared: Number of pieces in both.
        moved: Number of shared pieces with different ids.
        only_first: Up to `NUM_SHOWN` pieces of the first only, longest first.
        only_second: Up to `NUM_SHOWN` pieces of the second only, longest first.
    """

    names: tuple[str, str]
    sizes: tuple[int, int]
    shared: int
    moved: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """Formats the result as a table."""
        table, *lines = self.blocks()
        return "\n".join([as_text([table]), *map(str, lines)])

    def blocks(self) -> list[Table | str]:
        """The result as a table and paragraphs."""
        rows = [
            ("entries", *map(number, self.sizes)),
            ("not shared", *(number(size - self.shared) for size in self.sizes)),
            ("shared", number(self.shared), ""),
            ("changed ids", number(self.moved), ""),
        ]
        lines: list[Table | str] = [Table([("vocabulary", *self.names), *rows], right=(1, 2), has_head=True)]
        for name, pieces in zip(self.names, (self.only_first, self.only_second), strict=True):
            lines.append(f"only {name}: {' '.join(map(repr, pieces))}" if pieces else f"only {name}: nothing")
        return lines


def diff_vocabularies(first: Tokenizer, second: Tokenizer) -> VocabularyDiff:
    """Compares two vocabularies.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> diff_vocabularies(load_tokenizer("char:abc"), load_tokenizer("char:abd")).only_second
    ('d',)

    Args:
        first: A tokenizer.
        second: The other tokenizer.
    """
    one, other = (_by_bytes(tokenizer) for tokenizer in (first, second))
    shared = one.keys() & other.keys()
    return VocabularyDiff(
        names=distinct_names(first, second),
        sizes=(len(one), len(other)),
        shared=len(shared),
        moved=sum(one[content] != other[content] for content in shared),
        only_first=_longest(one.keys() - shared),
        only_second=_longest(other.keys() - shared),
    )


def distinct_names(first: Tokenizer, second: Tokenizer) -> tuple[str, str]:
    """Returns the names of two tokenizers, and numbers them if they are equal.

    Args:
        first: A tokenizer.
        second: The other tokenizer.
    """
    if first.name == second.name:
        return f"{first.name} (1)", f"{second.name} (2)"
    return first.name, second.name


def _by_bytes(tokenizer: Tokenizer) -> dict[bytes, int]:
    return {content: number for number, content in sorted(tokenizer.token_bytes.items(), reverse=True)}


def _longest(contents: set[bytes]) -> tuple[str, ...]:
    chosen = sorted(contents, key=lambda content: (-len(content), content))[:NUM_SHOWN]
    return tuple(content.decode(errors="backslashreplace") for content in chosen)
