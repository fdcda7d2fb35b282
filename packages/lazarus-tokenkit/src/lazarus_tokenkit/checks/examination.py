"""All checks on one tokenizer, worst first."""

from pathlib import Path

from lazarus_tokenkit.checks import chat, loading, special, text, vocabulary
from lazarus_tokenkit.checks.tokenizer_files import Finding, Patient

ORDER = {"error": 0, "warning": 1, "information": 2}


def examine(tokenizer: str | Path | Patient) -> list[Finding]:
    """What is wrong with a tokenizer, or worth knowing, by severity and number.

    >>> [finding.check for finding in examine("byte") if finding.severity == "error"]
    []
    """
    patient = tokenizer if isinstance(tokenizer, Patient) else Patient.admit(tokenizer)
    found = [finding for part in (loading, special, vocabulary, text, chat) for finding in part.check(patient)]
    return sorted(dict.fromkeys(found), key=lambda finding: (ORDER[finding.severity], finding.check))
