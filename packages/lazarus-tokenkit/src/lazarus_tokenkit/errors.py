"""The errors of lazarus-tokenkit.

LazarusError                      lazarus_core.errors
└── TokenkitError                 bad input or usage                          exit 2
    ├── TokenizerError            a tokenizer cannot be used                  LT-E11x
    │   └── TokenizerNotFound     no tokenizer has this name or path          LT-E10x
    ├── TemplateError             a chat template cannot be used              LT-E2xx
    ├── SampleError               a data file or a row is invalid             LT-E3xx
    └── FingerprintMismatch       the tokenizer differs from a fingerprint    LT-E401, exit 1
"""

from lazarus_core.errors import LazarusError


class TokenkitError(LazarusError):
    """Base class of the errors of lazarus-tokenkit."""


class TokenizerError(TokenkitError):
    """A tokenizer's files are damaged or contradict each other, or its encoding is random."""


class TokenizerNotFound(TokenizerError):
    """No tokenizer has this name or path."""


class TemplateError(TokenkitError):
    """A chat template is malformed, needs special tokens that the tokenizer lacks, or refuses a conversation."""


class SampleError(TokenkitError):
    """A data file or a row is invalid. The message names file, line and field."""


class FingerprintMismatch(TokenkitError):
    """The tokenizer differs from a saved fingerprint. The message names the components that differ."""

    exit_code = 1
