"""The byte tokenizer: the id is the byte. It needs no training and no file, and it encodes every text.

```
0..255  the byte            256  <|pad|>   257  <|bos|>   258  <|im_start|>   259  <|im_end|>
```
`<|im_end|>` ends both a turn and a text. It is the eos token, so generation stops where a training sample ends.
"""

from functools import cache
from typing import Any

from lazarus_tokenkit.chat_formats import CHATML
from lazarus_tokenkit.tokenizers.backends.alphabet import byte_alphabet
from lazarus_tokenkit.tokenizers.backends.assembly import BYTE_LEVEL, bpe, config_file, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

SPECIAL_TOKENS = {"<|pad|>": 256, "<|bos|>": 257, "<|im_start|>": 258, "<|im_end|>": 259}


@cache
def byte_tokenizer() -> HuggingFaceTokenizer:
    """Builds the tokenizer as a byte-level BPE without merges, a form that transformers loads.

    >>> byte_tokenizer().encode("é<|im_end|>")
    [195, 169, 259]
    """
    bos = {"SpecialToken": {"id": "<|bos|>", "type_id": 0}}
    sequences = [{"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB")]
    post_processor: dict[str, Any] = {
        "type": "TemplateProcessing",
        "single": [bos, sequences[0]],
        "pair": [bos, *sequences],
        "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [SPECIAL_TOKENS["<|bos|>"]], "tokens": ["<|bos|>"]}},
    }
    tokenizer = tokenizer_file(
        bpe(dict(byte_alphabet()) | SPECIAL_TOKENS, []),
        SPECIAL_TOKENS,
        pre_tokenizer=BYTE_LEVEL,
        post_processor=post_processor,
        decoder=BYTE_LEVEL,
    )
    roles = {"bos": "<|bos|>", "eos": "<|im_end|>", "pad": "<|pad|>", "unk": None}
    config = config_file(roles, "{{ bos_token }}" + CHATML)
    return HuggingFaceTokenizer.from_files({TOKENIZER_FILE: tokenizer, CONFIG_FILE: config}, "byte")
