"""Error classes.

IntrospectError               bad input or usage                             exit 2
├── SiteError                 a site is unknown or missing in this model     LI-E10x
├── HookError                 a hook returned something that does not fit    LI-E11x
└── RequestError              prompts, tokens, layers or positions           LI-E12x
"""

from lazarus_core.errors import LazarusError


class IntrospectError(LazarusError):
    """Base class of all errors of lazarus-introspect."""


class SiteError(IntrospectError, KeyError):
    """A site is unknown, or the model does not have it; the message says why."""

    def __str__(self) -> str:  # `KeyError` would quote it
        return self.message


class HookError(IntrospectError):
    """A hook returned something else than None or an array of the site's shape, or was never called."""


class RequestError(IntrospectError):
    """Prompts, tokens, layers or positions do not fit the model or each other."""
