"""Special tokens by purpose, with ids that leave no gap: what a project agrees on before it trains a tokenizer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.protocol import Tokenizer


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens in the order of their ids, from 0.

    >>> tokens = SpecialTokens().add("pad", "<pad>").add("end", "</s>")
    >>> tokens.texts, tokens.id_of("end")
    (('<pad>', '</s>'), 1)

    Args:
        by_purpose: Text of each, by what it is for.
    """

    by_purpose: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def texts(self) -> tuple[str, ...]:
        """In the order of ids: what `BpeConfig.special_tokens` takes."""
        return tuple(self.by_purpose.values())

    def add(self, purpose: str, text: str) -> "SpecialTokens":
        """With one more, behind the others.

        Raises:
            TokenizerError: The purpose or the text is taken, or the text is empty or has white space at an end.
        """
        if purpose in self.by_purpose:
            raise TokenizerError(f"`{purpose}` is {self.by_purpose[purpose]!r} already", "LT-E119")
        if text in self.texts or text != text.strip() or not text:
            raise TokenizerError(f"{text!r} cannot be a special token: taken, empty or with white space", "LT-E119")
        return SpecialTokens({**self.by_purpose, purpose: text})

    def id_of(self, purpose: str) -> int:
        """The id of the token for a purpose."""
        return list(self.by_purpose).index(purpose)

    def check(self, tokenizer: Tokenizer) -> list[str]:
        """What a tokenizer does otherwise, in plain words; empty if it keeps to it."""
        found = tokenizer.special_tokens
        wrong = [
            f"{purpose} {text!r} has id {found.get(text)}, not {self.id_of(purpose)}"
            for purpose, text in self.by_purpose.items()
            if found.get(text) != self.id_of(purpose)
        ]
        return wrong + [f"{text!r} is not agreed on" for text in _others(found, self.texts)]


def _others(found: Iterable[str], known: Iterable[str]) -> list[str]:
    return sorted(set(found) - set(known))
