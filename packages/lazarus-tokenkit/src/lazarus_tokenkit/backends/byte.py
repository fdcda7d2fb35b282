"""The byte tokenizer: id = byte, then four special tokens. No training, no file, no text it cannot spell.

```
0..255  the byte            256  <|pad|>   257  <|bos|>   258  <|im_start|>   259  <|im_end|>
```
`<|im_end|>` ends a turn and a text alike and is the eos, so that generation stops where training did.
"""

import json
from functools import cache
from typing import Any

from lazarus_tokenkit.backends.alphabet import byte_alphabet
from lazarus_tokenkit.backends.huggingface import CONFIG_FILE, TOKENIZER_FILE, HuggingFaceTokenizer
from lazarus_tokenkit.templates.formats import CHATML

SPECIAL_TOKENS = {"<|pad|>": 256, "<|bos|>": 257, "<|im_start|>": 258, "<|im_end|>": 259}


@cache
def byte_tokenizer() -> HuggingFaceTokenizer:
    """Built as a byte-level BPE without merges, so that transformers opens what `save` writes.

    >>> byte_tokenizer().encode("é<|im_end|>")
    [195, 169, 259]
    """
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bos = {"SpecialToken": {"id": "<|bos|>", "type_id": 0}}
    sequences = [{"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB")]
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": text} | flags for text, number in SPECIAL_TOKENS.items()],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, sequences[0]],
            "pair": [bos, *sequences],
            "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [SPECIAL_TOKENS["<|bos|>"]], "tokens": ["<|bos|>"]}},
        },
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": dict(byte_alphabet()) | SPECIAL_TOKENS, "merges": []},
    }
    config: dict[str, Any] = {
        "bos_token": "<|bos|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "unk_token": None,
        "chat_template": "{{ bos_token }}" + CHATML,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    files = {TOKENIZER_FILE: tokenizer, CONFIG_FILE: config}
    encoded = {name: (json.dumps(members, indent=1) + "\n").encode() for name, members in files.items()}
    return HuggingFaceTokenizer.from_files(encoded, "byte")
