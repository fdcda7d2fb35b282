"""Length of a document in characters."""

from lazarus_corpus.filters.kinds import Filter, Verdict


def length_filter(least: int, most: int) -> Filter:
    """Keeps documents of a length.

    Args:
        least: Fewest characters, spaces at both ends not counted.
        most: Most characters.
    """

    def check(text: str) -> Verdict:
        length = len(text.strip())
        if length < least:
            return Verdict(text, f"{length:,} characters, fewer than {least:,}")
        return Verdict(text, f"{length:,} characters, more than {most:,}" if length > most else None)

    return check
