"""What can go wrong, as a tree.

LazarusError                      lazarus_plan.errors
└── TokenkitError                 bad input or usage                          exit 2
    ├── TokenizerError            a tokenizer cannot be used                  LT-E11x
    │   └── TokenizerNotFound     there is none by that name                  LT-E101
    ├── TemplateError             a chat template cannot be used              LT-E2xx
    ├── SampleError               a data file or a row of it is wrong         LT-E3xx
    └── FingerprintMismatch       the tokenizer is another one                LT-E401, exit 1
"""

from lazarus_core.errors import LazarusError


class TokenkitError(LazarusError):
    """Base of everything that lazarus-tokenkit raises."""


class TokenizerError(TokenkitError):
    """A tokenizer's files are damaged, contradict each other or are not deterministic."""


class TokenizerNotFound(TokenizerError):
    """No tokenizer goes by this name or lies at this path."""


class TemplateError(TokenkitError):
    """A chat template is malformed, does not suit the tokenizer or refuses a conversation."""


class SampleError(TokenkitError):
    """A data file or one row of it is wrong; the message names file, line and field."""


class FingerprintMismatch(TokenkitError):
    """The tokenizer is not the one whose fingerprint was saved; the message names the components."""

    exit_code = 1
