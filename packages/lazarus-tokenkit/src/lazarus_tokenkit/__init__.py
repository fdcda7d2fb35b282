"""Text to token ids and loss masks: samples, tokenizers, fingerprints, length caches."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazarus_tokenkit.doctor.examination import examine as examine
    from lazarus_tokenkit.encode import Encoded as Encoded
    from lazarus_tokenkit.encode import Encoder as Encoder
    from lazarus_tokenkit.encoded_data import EncodedSample as EncodedSample
    from lazarus_tokenkit.encoded_data import encode_dataset as encode_dataset
    from lazarus_tokenkit.encoded_data import write_encoded as write_encoded
    from lazarus_tokenkit.errors import TokenkitError as TokenkitError
    from lazarus_tokenkit.fingerprint import TokenizerFingerprint as TokenizerFingerprint
    from lazarus_tokenkit.fingerprint import compute_fingerprint as compute_fingerprint
    from lazarus_tokenkit.fingerprint import diff_parts as diff_parts
    from lazarus_tokenkit.fingerprint import save_fingerprint as save_fingerprint
    from lazarus_tokenkit.fingerprint import verify_fingerprint as verify_fingerprint
    from lazarus_tokenkit.inspection import inspect_samples as inspect_samples
    from lazarus_tokenkit.length_cache import build_lengths as build_lengths
    from lazarus_tokenkit.lengths import EncodedRow as EncodedRow
    from lazarus_tokenkit.lengths import encode_rows as encode_rows
    from lazarus_tokenkit.lengths import source_header as source_header
    from lazarus_tokenkit.load import load_tokenizer as load_tokenizer
    from lazarus_tokenkit.metrics.comparison import compare_tokenizers as compare_tokenizers
    from lazarus_tokenkit.metrics.coverage import analyze_coverage as analyze_coverage
    from lazarus_tokenkit.metrics.efficiency import analyze_efficiency as analyze_efficiency
    from lazarus_tokenkit.metrics.entropy import analyze_entropy as analyze_entropy
    from lazarus_tokenkit.metrics.fit import calculate_fit_score as calculate_fit_score
    from lazarus_tokenkit.metrics.induction import suggest_vocabulary as suggest_vocabulary
    from lazarus_tokenkit.metrics.waste import padding_waste as padding_waste
    from lazarus_tokenkit.metrics.words import analyze_words as analyze_words
    from lazarus_tokenkit.preparation.curriculum import make_curriculum as make_curriculum
    from lazarus_tokenkit.preparation.numerals import normalize_numbers as normalize_numbers
    from lazarus_tokenkit.preparation.registry import SpecialTokens as SpecialTokens
    from lazarus_tokenkit.preparation.structures import inject_structures as inject_structures
    from lazarus_tokenkit.preparation.structures import restore_structures as restore_structures
    from lazarus_tokenkit.readers import FieldNames as FieldNames
    from lazarus_tokenkit.readers import read_samples as read_samples
    from lazarus_tokenkit.regression import read_suite as read_suite
    from lazarus_tokenkit.regression import run_suite as run_suite
    from lazarus_tokenkit.sample_lengths import measure_samples as measure_samples
    from lazarus_tokenkit.samples import ChatSample as ChatSample
    from lazarus_tokenkit.samples import CompletionSample as CompletionSample
    from lazarus_tokenkit.samples import LabelledSample as LabelledSample
    from lazarus_tokenkit.samples import Message as Message
    from lazarus_tokenkit.samples import PreferenceSample as PreferenceSample
    from lazarus_tokenkit.samples import PromptSample as PromptSample
    from lazarus_tokenkit.samples import Sample as Sample
    from lazarus_tokenkit.samples import TextSample as TextSample
    from lazarus_tokenkit.samples import ToolCall as ToolCall
    from lazarus_tokenkit.templates.registry import choose_template as choose_template
    from lazarus_tokenkit.templates.render import ChatTemplate as ChatTemplate
    from lazarus_tokenkit.templates.validation import validate_template as validate_template
    from lazarus_tokenkit.tokenizer import Tokenizer as Tokenizer
    from lazarus_tokenkit.training.bpe import BpeConfig as BpeConfig
    from lazarus_tokenkit.training.bpe import train_bpe as train_bpe
    from lazarus_tokenkit.training.sentencepiece import SentencePieceConfig as SentencePieceConfig
    from lazarus_tokenkit.training.sentencepiece import train_sentencepiece as train_sentencepiece
    from lazarus_tokenkit.vocabularies import diff_vocabularies as diff_vocabularies

_HOME = {  # public name -> module that defines it, imported at first use
    "BpeConfig": "training.bpe",
    "ChatSample": "samples",
    "ChatTemplate": "templates.render",
    "CompletionSample": "samples",
    "Encoded": "encode",
    "EncodedRow": "lengths",
    "EncodedSample": "encoded_data",
    "Encoder": "encode",
    "FieldNames": "readers",
    "Message": "samples",
    "LabelledSample": "samples",
    "PreferenceSample": "samples",
    "PromptSample": "samples",
    "Sample": "samples",
    "SentencePieceConfig": "training.sentencepiece",
    "SpecialTokens": "preparation.registry",
    "TextSample": "samples",
    "Tokenizer": "tokenizer",
    "TokenizerFingerprint": "fingerprint",
    "TokenkitError": "errors",
    "ToolCall": "samples",
    "analyze_coverage": "metrics.coverage",
    "analyze_efficiency": "metrics.efficiency",
    "analyze_entropy": "metrics.entropy",
    "analyze_words": "metrics.words",
    "build_lengths": "length_cache",
    "calculate_fit_score": "metrics.fit",
    "choose_template": "templates.registry",
    "compare_tokenizers": "metrics.comparison",
    "compute_fingerprint": "fingerprint",
    "diff_parts": "fingerprint",
    "diff_vocabularies": "vocabularies",
    "encode_dataset": "encoded_data",
    "encode_rows": "lengths",
    "examine": "doctor.examination",
    "inject_structures": "preparation.structures",
    "inspect_samples": "inspection",
    "load_tokenizer": "load",
    "make_curriculum": "preparation.curriculum",
    "measure_samples": "sample_lengths",
    "normalize_numbers": "preparation.numerals",
    "padding_waste": "metrics.waste",
    "read_samples": "readers",
    "read_suite": "regression",
    "restore_structures": "preparation.structures",
    "run_suite": "regression",
    "save_fingerprint": "fingerprint",
    "source_header": "lengths",
    "suggest_vocabulary": "metrics.induction",
    "train_bpe": "training.bpe",
    "train_sentencepiece": "training.sentencepiece",
    "validate_template": "templates.validation",
    "verify_fingerprint": "fingerprint",
    "write_encoded": "encoded_data",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
