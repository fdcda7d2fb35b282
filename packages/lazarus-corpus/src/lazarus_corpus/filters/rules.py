"""Rules of published corpora, as `datatrove` has them (extra `rules`).

gopher       quality rules of Gopher (Rae et al. 2021, arXiv 2112.11446, table A1)
c4           rules of C4 (Raffel et al. 2020, arXiv 1910.10683): lines without end punctuation are cut, and others
fineweb      rules of FineWeb (Penedo et al. 2024, arXiv 2406.17557)
repetition   repetition rules of Gopher
"""

from importlib import import_module
from typing import Any

from lazarus_corpus.errors import SettingError
from lazarus_corpus.filters.kinds import Filter, Verdict
from lazarus_corpus.settings import Rule

_CLASSES: dict[Rule, str] = {
    "gopher": "GopherQualityFilter",
    "c4": "C4QualityFilter",
    "fineweb": "FineWebQualityFilter",
    "repetition": "GopherRepetitionFilter",
}


def rule_filter(rule: Rule) -> Filter:
    """The filter of a rule, with the thresholds of its paper.

    Args:
        rule: Its name.

    Raises:
        SettingError: The extra `rules` is not installed.
    """
    try:
        data: Any = import_module("datatrove.data")
        filters: Any = import_module("datatrove.pipeline.filters")
        for needed in ("spacy", "nltk", "regex"):
            import_module(needed)
        made = getattr(filters, _CLASSES[rule])()
    except ModuleNotFoundError as error:
        raise SettingError(f"the rule {rule!r} needs lazarus-corpus[rules]; install it", "LD-E123") from error

    def check(text: str) -> Verdict:
        document = data.Document(text=text, id="")
        verdict: bool | tuple[bool, str] = made.filter(document)
        keep, reason = verdict if isinstance(verdict, tuple) else (verdict, "")
        return Verdict(document.text, None if keep else str(reason).removeprefix(f"{rule}_") or rule)

    return check
