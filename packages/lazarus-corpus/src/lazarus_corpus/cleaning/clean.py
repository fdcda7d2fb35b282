"""All changes of a text, in their order."""

from collections import Counter
from typing import NamedTuple

from lazarus_corpus.cleaning.boilerplate import without_boilerplate
from lazarus_corpus.cleaning.characters import normal_characters, normal_lines
from lazarus_corpus.cleaning.personal_data import without_personal_data
from lazarus_corpus.settings import CleaningSettings


class Cleaned(NamedTuple):
    """A cleaned text.

    Args:
        text: The text.
        counts: How often each part changed something: documents of `unicode` and `newlines`, lines of `boilerplate`, places
            of `email`, `ip`, `phone`.
        rule: Rule that removes the document; empty to keep it.
        witness: What the rule found.
    """

    text: str
    counts: Counter[str]
    rule: str = ""
    witness: str = ""


def clean(text: str, settings: CleaningSettings) -> Cleaned:
    """Clean a text.

    Args:
        text: The text as it was read.
        settings: Which parts are on.
    """
    counts: Counter[str] = Counter()
    if settings.unicode:
        changed = normal_characters(text)
        counts["unicode"] += changed != text
        text = changed
    if settings.newlines:
        changed = normal_lines(text)
        counts["newlines"] += changed != text
        text = changed
    if settings.boilerplate:
        text, lines = without_boilerplate(text)
        counts["boilerplate"] += lines
    if settings.personal_data != "keep":
        changed, found = without_personal_data(text)
        if settings.personal_data == "drop" and any(found.values()):
            kinds = ", ".join(f"{count} {kind}" for kind, count in found.items() if count)
            return Cleaned(changed, counts, "personal_data", kinds)  # masked: examples of removals must not show it
        counts.update(found)
        text = changed
    return Cleaned(text, +counts)
