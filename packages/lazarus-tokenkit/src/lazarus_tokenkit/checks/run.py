"""Runs all checks on one tokenizer."""

from pathlib import Path

from lazarus_tokenkit.checks import chat, loading, special, text, vocabulary
from lazarus_tokenkit.checks.tokenizer_files import Finding, TokenizerFiles

ORDER = {"error": 0, "warning": 1, "information": 2}


def validate_tokenizer(tokenizer: str | Path | TokenizerFiles) -> list[Finding]:
    """Runs all checks and returns the findings, ordered by severity and number.

    >>> [finding.check for finding in validate_tokenizer("byte") if finding.severity == "error"]
    []
    """
    files = tokenizer if isinstance(tokenizer, TokenizerFiles) else TokenizerFiles.read(tokenizer)
    found = [finding for part in (loading, special, vocabulary, text, chat) for finding in part.check(files)]
    return sorted(dict.fromkeys(found), key=lambda finding: (ORDER[finding.severity], finding.check))
