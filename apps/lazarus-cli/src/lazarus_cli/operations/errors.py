"""Errors of operations.

LazarusError
└── OperationError    an artifact, a copy or a remote place cannot be used     exit 2, LC-E270 to LC-E291
    └── CopyDiffers   a copy differs from its list of digests                   exit 1
"""

from lazarus_core.errors import LazarusError


class OperationError(LazarusError):
    """An operation cannot be done; the message names the place and the way out."""


class CopyDiffers(OperationError):
    """A copy is not equal to its original; nothing was put in place."""

    exit_code = 1
