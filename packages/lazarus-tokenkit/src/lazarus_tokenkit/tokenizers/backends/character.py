"""The character tokenizer: one id a character, `<unk>` for other characters. Suits digits, formulas, classification.

```
0  <pad>    1  <unk>    2  <bos>    3  <eos>    4..  the characters, by code point
```
"""

import string
from collections.abc import Iterable

from lazarus_tokenkit.errors import TokenkitError
from lazarus_tokenkit.tokenizers.backends.assembly import begins_with, config_file, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer

SPECIAL_TOKENS = {"<pad>": 0, "<unk>": 1, "<bos>": 2, "<eos>": 3}
PRINTABLE = "".join(sorted(string.printable[:95] + "\n"))
"""Characters of `char:` without a list: printable ASCII and the line feed."""


def character_tokenizer(characters: Iterable[str] = PRINTABLE, name: str = "char") -> HuggingFaceTokenizer:
    """Builds the tokenizer as a word-level model whose words are characters, a form that transformers loads.

    >>> character_tokenizer("0123456789+=").encode("1+1=2?")
    [6, 4, 6, 15, 7, 1]

    Args:
        characters: Characters or texts. Every character that occurs gets an id.
        name: Name of the tokenizer for messages.

    Raises:
        TokenkitError: There is no visible character.
    """
    letters = sorted({letter for text in characters for letter in text})
    if not any(map(str.strip, letters)):
        raise TokenkitError("a tokenizer of characters has none: give at least one visible character", "LT-E280")
    vocab = SPECIAL_TOKENS | {letter: number for number, letter in enumerate(letters, len(SPECIAL_TOKENS))}
    split = {"type": "Split", "pattern": {"Regex": "(?m:.)"}, "behavior": "Isolated", "invert": False}
    tokenizer = tokenizer_file(
        {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        SPECIAL_TOKENS,
        pre_tokenizer=split,
        post_processor=begins_with("<bos>", SPECIAL_TOKENS["<bos>"]),
        decoder={"type": "Fuse"},
    )
    config = config_file({"bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "unk": "<unk>"})
    return HuggingFaceTokenizer.from_files({TOKENIZER_FILE: tokenizer, CONFIG_FILE: config}, name)
