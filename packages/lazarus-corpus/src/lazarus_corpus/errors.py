"""Error classes.

CorpusError                   bad input or usage                                   exit 2
├── SourceError               a source cannot be read                              LD-E10x
├── SettingError              a setting or an extra that it needs                  LD-E12x
└── OutputError               a corpus on disk is incomplete or was changed        LD-E14x
"""

from lazarus_core.errors import LazarusError


class CorpusError(LazarusError):
    """Base class of all errors of lazarus-corpus."""


class SourceError(CorpusError):
    """A source is missing or a document of it cannot be read; the message names file and line."""


class SettingError(CorpusError):
    """A setting cannot be used, or needs an extra that is not installed."""


class OutputError(CorpusError):
    """A corpus on disk is incomplete, was changed, or is not a corpus."""
