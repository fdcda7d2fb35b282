"""Text to token ids and loss masks: samples, tokenizers, fingerprints, length caches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazarus_tokenkit.encode import Encoded as Encoded
    from lazarus_tokenkit.encode import Encoder as Encoder
    from lazarus_tokenkit.errors import TokenkitError as TokenkitError
    from lazarus_tokenkit.fingerprint import TokenizerFingerprint as TokenizerFingerprint
    from lazarus_tokenkit.fingerprint import compute_fingerprint as compute_fingerprint
    from lazarus_tokenkit.fingerprint import diff_parts as diff_parts
    from lazarus_tokenkit.lengths import EncodedRow as EncodedRow
    from lazarus_tokenkit.lengths import build_lengths as build_lengths
    from lazarus_tokenkit.lengths import encode_rows as encode_rows
    from lazarus_tokenkit.lengths import source_header as source_header
    from lazarus_tokenkit.load import load_tokenizer as load_tokenizer
    from lazarus_tokenkit.readers import FieldNames as FieldNames
    from lazarus_tokenkit.readers import read_samples as read_samples
    from lazarus_tokenkit.samples import ChatSample as ChatSample
    from lazarus_tokenkit.samples import CompletionSample as CompletionSample
    from lazarus_tokenkit.samples import Message as Message
    from lazarus_tokenkit.samples import Sample as Sample
    from lazarus_tokenkit.samples import TextSample as TextSample
    from lazarus_tokenkit.tokenizer import Tokenizer as Tokenizer

_HOME = {  # public name -> module that defines it, imported at first use
    "ChatSample": "samples",
    "CompletionSample": "samples",
    "Encoded": "encode",
    "EncodedRow": "lengths",
    "Encoder": "encode",
    "FieldNames": "readers",
    "Message": "samples",
    "Sample": "samples",
    "TextSample": "samples",
    "Tokenizer": "tokenizer",
    "TokenizerFingerprint": "fingerprint",
    "TokenkitError": "errors",
    "build_lengths": "lengths",
    "compute_fingerprint": "fingerprint",
    "diff_parts": "fingerprint",
    "encode_rows": "lengths",
    "load_tokenizer": "load",
    "read_samples": "readers",
    "source_header": "lengths",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
