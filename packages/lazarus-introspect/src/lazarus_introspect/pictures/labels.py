"""Texts of tokens as labels."""

from collections.abc import Sequence


def visible(text: str, most: int = 24) -> str:
    r"""A text of tokens as a label: line breaks and tabs as signs, spaces alone too, shortened.

    Args:
        text: The text.
        most: Characters that are kept.

    >>> visible(" a\n")
    ' a⏎'
    """
    if text.strip(" ") == "":
        return "␣" * min(len(text), most)
    shown = text.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def token_labels(tokens: Sequence[str]) -> list[str]:
    """Labels of the tokens of a prompt."""
    return [visible(token) for token in tokens]
