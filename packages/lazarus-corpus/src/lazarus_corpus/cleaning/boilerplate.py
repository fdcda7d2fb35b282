"""Lines that pages repeat: cookie notices, navigation, copyright, sharing."""

import re

_LINE = re.compile(
    r"""^\s*(?:
      (?:we|this\s+(?:web)?site|our\s+(?:web)?site)\s+uses?\s+cookies\b.*
    | .*\b(?:accept|manage|reject)\s+(?:all\s+)?cookies\b.*
    | (?:©|\(c\)|copyright\b).{0,120}
    | .{0,60}\ball\s+rights\s+reserved\b.{0,20}
    | (?:terms\s+(?:of\s+(?:use|service)|and\s+conditions)|privacy\s+policy|cookie\s+policy|contact\s+us|sitemap|about\s+us)
      (?:\s*[|·•/\u2013-]\s*[\w ]{1,40})*
    | (?:share|tweet|pin|like|follow)\s+(?:this|us|on)\b.{0,60}
    | (?:home|menu|search|log\s?in|sign\s?(?:in|up)|subscribe|skip\s+to\s+(?:main\s+)?content)
      (?:\s*[|·•/>»-]\s*[\w ]{1,40})*
    | (?:click\s+here\s+to|subscribe\s+to\s+our|sign\s+up\s+for\s+our)\b.{0,80}
    | (?:javascript\s+is\s+(?:disabled|required)|please\s+enable\s+javascript)\b.{0,80}
    )\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
_MAX_CHARACTERS = 200
"""Longer lines are text."""


def without_boilerplate(text: str) -> tuple[str, int]:
    r"""A text without lines of boilerplate, and the number of lines removed.

    >>> without_boilerplate("A story.\nAll rights reserved.\nThe end.")
    ('A story.\nThe end.', 1)
    """
    lines = text.split("\n")
    kept = [line for line in lines if len(line) > _MAX_CHARACTERS or not _LINE.match(line)]
    return "\n".join(kept), len(lines) - len(kept)
