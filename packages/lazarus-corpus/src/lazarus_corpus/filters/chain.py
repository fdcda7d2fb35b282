"""The filters of a corpus in their order. A filter is one file of this room and one line of `make_filters`."""

from lazarus_corpus.filters.kinds import Filter
from lazarus_corpus.settings import FilterSettings


def make_filters(settings: FilterSettings) -> list[tuple[str, Filter]]:
    """The filters that are switched on, by name, in their order.

    Args:
        settings: Which are on.

    Raises:
        SettingError: A filter needs an extra that is not installed.
    """
    from lazarus_corpus.filters.language import language_filter
    from lazarus_corpus.filters.length import length_filter
    from lazarus_corpus.filters.rules import rule_filter

    found: list[tuple[str, Filter]] = [("length", length_filter(settings.min_characters, settings.max_characters))]
    if settings.languages:
        found.append(("language", language_filter(settings.languages, settings.min_language_score)))
    found.extend((rule, rule_filter(rule)) for rule in settings.rules)
    return found
