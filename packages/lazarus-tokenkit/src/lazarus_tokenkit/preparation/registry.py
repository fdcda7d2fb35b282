"""A list of special tokens by purpose with consecutive ids, as input for tokenizer training."""

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
        by_purpose: Purpose to the token's text, in the order of ids.
    """

    by_purpose: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts in the order of ids, for `BpeConfig.special_tokens`."""
        return tuple(self.by_purpose.values())

    def add(self, purpose: str, text: str) -> "SpecialTokens":
        """Returns a copy with one more token at the end.

        Args:
            purpose: Purpose of the token, such as `pad`.
            text: Text of the token, without white space at its ends.

        Raises:
            TokenizerError: The purpose or the text is in use, or the text is empty or has white space at an end.
        """
        if purpose in self.by_purpose:
            raise TokenizerError(f"`{purpose}` already has the token {self.by_purpose[purpose]!r}", "LT-E119")
        if text in self.texts or text != text.strip() or not text:
            raise TokenizerError(
                f"{text!r} cannot be a special token: it is in use, empty, or has white space at an end", "LT-E119"
            )
        return SpecialTokens({**self.by_purpose, purpose: text})

    def id_of(self, purpose: str) -> int:
        """Returns the id of the token for a purpose."""
        return list(self.by_purpose).index(purpose)

    def verify(self, tokenizer: Tokenizer) -> list[str]:
        """Compares the list with a tokenizer and describes each difference. An empty result means no difference."""
        found = tokenizer.special_tokens
        wrong = [
            f"{purpose} {text!r} has id {found.get(text)}, not {self.id_of(purpose)}"
            for purpose, text in self.by_purpose.items()
            if found.get(text) != self.id_of(purpose)
        ]
        return wrong + [f"{text!r} is not in the list" for text in _others(found, self.texts)]


def _others(found: Iterable[str], known: Iterable[str]) -> list[str]:
    return sorted(set(found) - set(known))
