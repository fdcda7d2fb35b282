"""Log-probabilities in the format of OpenAI's interface. The bytes of the reported tokens join to the text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lazarus_models.generation.sampling import TokenLogprob
from lazarus_models.generation.streaming import decode_stream
from lazarus_tokenkit import Tokenizer

_SPACES = re.compile(rb"\s*")


class Scored(NamedTuple):
    """A token with its log-probability; None for the first token of a prompt, which follows nothing."""

    id: int
    logprob: TokenLogprob | None


@dataclass
class Reporter:
    """Reports the tokens of one text in order, each once."""

    tokenizer: Tokenizer
    before: Sequence[int]
    """Token ids before the text: they decide whether its first token shows its space."""
    is_chat: bool
    echo: bytes = b""
    """The text of the prompt, if the text begins with it."""
    echoed: int = 0
    """Tokens of this prompt."""
    reported: int = 0
    """Tokens reported."""
    size: int = 0
    """Bytes of the text up to their end."""
    characters: int = 0
    """Characters that begin in these bytes."""
    _is_begun: bool = field(default=False, repr=False)

    def report(self, tokens: Sequence[Scored], limit: int | None) -> dict[str, Any]:
        """The entries of tokens that are not reported yet.

        Args:
            tokens: Every token of the text so far.
            limit: Bytes of the text sent so far; tokens that begin after them wait. None to report every token.
        """
        told: list[dict[str, Any]] = []
        offsets: list[int] = []
        while self.reported < len(tokens) and (limit is None or self.size < limit):
            token = tokens[self.reported]
            content = self._echoed(token.id) if self.reported < self.echoed else self._bytes(token.id)
            told.append(self._entry(token, content))
            offsets.append(self.characters - bool(content and content[0] & 0xC0 == 0x80))
            self.reported += 1
            self._pass(content)
            if self.reported == self.echoed:  # also past what no token shows, such as a space that the tokenizer drops
                self._pass(self.echo[self.size :])
        if self.is_chat:
            return {"content": told, "refusal": None}
        return {
            "tokens": [entry["token"] for entry in told],
            "token_logprobs": [entry["logprob"] for entry in told],
            "top_logprobs": [entry["top"] for entry in told],
            "text_offset": offsets,
        }

    def _pass(self, content: bytes) -> None:
        """Moves on in the text."""
        self.size += len(content)
        self.characters += sum(byte & 0xC0 != 0x80 for byte in content)

    def _echoed(self, token: int) -> bytes:
        """The bytes of the prompt that a token stands for. Spaces before them that no token shows are passed.

        A prompt may name a special token, such as `<|im_start|>`; one that the tokenizer adds has no bytes in it.
        """
        own = shown_bytes(self.tokenizer, token) or self._name(token).encode("utf-8")
        spaces = _SPACES.match(self.echo, self.size)
        for start in (self.size, spaces.end() if spaces else self.size):
            for content in (own, own.removeprefix(b" ")):  # a tokenizer may put a space before a text
                if content and self.echo.startswith(content, start):
                    self._is_begun = True
                    self._pass(self.echo[self.size : start])
                    return content
        return b"" if own == b" " else self._bytes(token)

    def _bytes(self, token: int) -> bytes:
        """The bytes that a token adds to the text; the first token loses its space at the start of a text."""
        content = shown_bytes(self.tokenizer, token)
        if content and not self._is_begun:
            self._is_begun = True
            if content[:1] == b" " and not "".join(decode_stream(self.tokenizer, self.before, [token])).startswith(" "):
                return content[1:]
        return content

    def _entry(self, token: Scored, content: bytes) -> dict[str, Any]:
        top = () if token.logprob is None else token.logprob.top
        own = None if token.logprob is None else token.logprob.logprob
        if self.is_chat:
            likely = [_chat(shown_bytes(self.tokenizer, one), logprob, self._name(one)) for one, logprob in top]
            return {**_chat(content, own, self._name(token.id)), "top_logprobs": likely}
        return {"token": _text(content), "logprob": own, "top": self._top(token, content)}

    def _top(self, token: Scored, content: bytes) -> dict[str, float] | None:
        """The most likely tokens and the chosen one, by text; a text that is taken gets the token's id."""
        if token.logprob is None:
            return None
        found: dict[str, float] = {}
        for one, logprob in token.logprob.top:
            shown = content if one == token.id else shown_bytes(self.tokenizer, one)
            name = _text(shown) or self._name(one)
            found[f"{name} (token {one})" if name in found else name] = logprob
        if all(one != token.id for one, _ in token.logprob.top):
            name = _text(content) or self._name(token.id)
            found[f"{name} (token {token.id})" if name in found else name] = token.logprob.logprob
        return found

    def _name(self, token: int) -> str:
        """The name of a token without text, such as `</s>`."""
        return next((name for name, known in self.tokenizer.special_tokens.items() if known == token), "")


def shown_bytes(tokenizer: Tokenizer, token: int) -> bytes:
    """The bytes that a token adds to an answer; special tokens add none.

    Args:
        tokenizer: The tokenizer.
        token: Token id.
    """
    is_special = token in tokenizer.special_tokens.values()
    return b"" if is_special else tokenizer.token_bytes.get(token, b"")


def _chat(content: bytes, logprob: float | None, name: str) -> dict[str, Any]:
    return {"token": _text(content) or name, "logprob": logprob, "bytes": list(content)}


def _text(content: bytes) -> str:
    r"""The text of a token; a part of a character is written as `bytes:\xe2\x80`, as OpenAI does."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)
