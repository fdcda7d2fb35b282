"""Streaming: decodes tokens to whole characters, and ends the text before a stop text."""

from collections.abc import Generator, Iterable, Iterator, Sequence

from lazarus_tokenkit import Tokenizer

_CONTEXT = 6  # tokens decoded again before a new piece: spaces and split characters depend on earlier tokens
_BROKEN = "\ufffd"  # decoders return this character for an incomplete UTF-8 sequence


def decode_stream(tokenizer: Tokenizer, before: Sequence[int], new: Iterable[int]) -> Iterator[str]:
    """Decodes tokens one by one, and delays a character until its last byte has arrived.

    Args:
        tokenizer: The tokenizer.
        before: Tokens of the prompt, which determine whether the first piece begins with a space.
        new: The new tokens.
    """
    window = list(before[-_CONTEXT:])
    shown = len(window)
    for token in new:
        window.append(token)
        piece = _last_piece(tokenizer, window, shown)
        if piece and not piece.endswith(_BROKEN):
            yield piece
            window, shown = window[-_CONTEXT:], min(len(window), _CONTEXT)
    if piece := _last_piece(tokenizer, window, shown):
        yield piece


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Generator[str, None, bool]:
    """Yields text up to the first stop text, and delays text that may be the beginning of one.

    Args:
        pieces: The text in pieces.
        stops: Stop texts.

    Returns:
        Whether a stop text was found.

    >>> list(until_stop(["one ", "t", "wo ST", "OP three"], ["STOP"]))
    ['one ', 't', 'wo ']
    """
    held = ""
    for piece in pieces:
        held += piece
        found = [index for stop in stops if (index := held.find(stop)) >= 0]
        if found:
            if before := held[: min(found)]:
                yield before
            return True
        keep = max((_overlap(held, stop) for stop in stops), default=0)
        if ready := held[: len(held) - keep]:
            yield ready
        held = held[len(held) - keep :]
    if held:
        yield held
    return False


def _overlap(text: str, stop: str) -> int:
    """The length of the longest prefix of a stop text that is a suffix of a text."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


def _last_piece(tokenizer: Tokenizer, window: list[int], shown: int) -> str:
    old = tokenizer.decode(window[:shown], skip_special=True)
    return tokenizer.decode(window, skip_special=True)[len(old) :]
