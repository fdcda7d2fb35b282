"""Two vocabularies held side by side: what one has that the other lacks, and ids that moved."""

from dataclasses import asdict, dataclass
from typing import Any

from lazarus_tokenkit.tables import aligned, number
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

NUM_SHOWN = 10


@dataclass(frozen=True)
class VocabularyDiff:
    """How two vocabularies differ, by the bytes that pieces stand for.

    Args:
        names: Of the two.
        sizes: Entries of the two.
        shared: Pieces that both have.
        moved: Of these, those with another id.
        only_first: Some of what only the first has, longest first.
        only_second: Some of what only the second has.
    """

    names: tuple[str, str]
    sizes: tuple[int, int]
    shared: int
    moved: int
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As it is printed with `--json`."""
        return asdict(self)

    def text(self) -> str:
        """As it is printed for people."""
        rows = [
            ("entries", *map(number, self.sizes)),
            ("only there", *(number(size - self.shared) for size in self.sizes)),
            ("shared", number(self.shared), ""),
            ("other ids", number(self.moved), ""),
        ]
        lines = [aligned([("vocabulary", *self.names), *rows], right=[1, 2])]
        for name, pieces in zip(self.names, (self.only_first, self.only_second), strict=True):
            lines.append(f"only {name}: {' '.join(map(repr, pieces))}" if pieces else f"only {name}: nothing")
        return "\n".join(lines)


def diff_vocabularies(first: Tokenizer, second: Tokenizer) -> VocabularyDiff:
    """Compares two vocabularies.

    >>> from lazarus_tokenkit import load_tokenizer
    >>> diff_vocabularies(load_tokenizer("char:abc"), load_tokenizer("char:abd")).only_second
    ('d',)
    """
    one, other = (_by_bytes(tokenizer) for tokenizer in (first, second))
    shared = one.keys() & other.keys()
    return VocabularyDiff(
        names=names_apart(first, second),
        sizes=(len(one), len(other)),
        shared=len(shared),
        moved=sum(one[content] != other[content] for content in shared),
        only_first=_longest(one.keys() - shared),
        only_second=_longest(other.keys() - shared),
    )


def names_apart(first: Tokenizer, second: Tokenizer) -> tuple[str, str]:
    """The names of two tokenizers, numbered where they are the same, as those of a directory and its copy are."""
    if first.name == second.name:
        return f"{first.name} (1)", f"{second.name} (2)"
    return first.name, second.name


def _by_bytes(tokenizer: Tokenizer) -> dict[bytes, int]:
    return {content: number for number, content in sorted(tokenizer.token_bytes.items(), reverse=True)}


def _longest(contents: set[bytes]) -> tuple[str, ...]:
    chosen = sorted(contents, key=lambda content: (-len(content), content))[:NUM_SHOWN]
    return tuple(content.decode(errors="backslashreplace") for content in chosen)
