"""The tokenizer of images: one id a grey level, one a label, and the shape of the images in the text of its bos token.

```
0..L-1  grey levels, black to white      L..L+K-1  <|label_0|>, <|label_1|>, ..
then    <|no_label|>   <|mask|>   <|image HEIGHTxWIDTH|> (bos)   <|end|> (eos)   <unk>
```

No image contains eos, since its length is fixed; other programs expect one.

The tokenizer's files hold all settings. So its fingerprint covers them, and every program that copies the files keeps them.
"""

import re
from dataclasses import dataclass

from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers.backends.assembly import begins_with, config_file, tokenizer_file
from lazarus_tokenkit.tokenizers.backends.companions import CONFIG_FILE, TOKENIZER_FILE
from lazarus_tokenkit.tokenizers.backends.huggingface import HuggingFaceTokenizer
from lazarus_tokenkit.tokenizers.protocol import Tokenizer

PREFIX = "pixels:"
FORM = f"{PREFIX}HEIGHTxWIDTH:LEVELS:LABELS"
NO_LABEL, MASK, END, UNKNOWN = "<|no_label|>", "<|mask|>", "<|end|>", "<unk>"
MAX_PIXELS = 1 << 16
"""Most pixels of an image: 256 x 256. A sample has two tokens more."""
MAX_LEVELS = 256
"""Most grey levels: pixels are read as bytes."""
MAX_LABELS = 1 << 14
"""Most labels."""
_NAME = re.compile(r"pixels:([0-9]{1,9})x([0-9]{1,9}):([0-9]{1,9}):([0-9]{1,9})", re.ASCII)
_SHAPE = re.compile(r"<\|image ([0-9]{1,9})x([0-9]{1,9})\|>", re.ASCII)
_LABEL = re.compile(r"<\|label_([0-9]{1,9})\|>", re.ASCII)
_INVALID, _NOT_PIXELS = "LT-E480", "LT-E481"


@dataclass(frozen=True)
class PixelFormat:
    """Shape, grey levels and labels of images, and the token ids that follow from them.

    >>> PixelFormat(2, 3, levels=4, labels=10).name
    'pixels:2x3:4:10'

    Args:
        height: Rows of pixels.
        width: Pixels a row.
        levels: Grey levels, 2 to 256.
        labels: Number of labels; 0 for images without labels.

    Raises:
        TokenizerError: A number is out of range.
    """

    height: int
    width: int
    levels: int
    labels: int = 0

    def __post_init__(self) -> None:
        pixels = self.height * self.width
        if min(self.height, self.width) < 1 or pixels > MAX_PIXELS:
            raise _out_of_range("height x width", f"{self.height} x {self.width}", f"1 to {MAX_PIXELS:,} pixels")
        if not 2 <= self.levels <= MAX_LEVELS:
            raise _out_of_range("levels", str(self.levels), f"2 to {MAX_LEVELS}")
        if not 0 <= self.labels <= MAX_LABELS:
            raise _out_of_range("labels", str(self.labels), f"0 to {MAX_LABELS:,}")

    @property
    def name(self) -> str:
        """The name that `load_tokenizer` reads."""
        return f"{PREFIX}{self.height}x{self.width}:{self.levels}:{self.labels}"

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        return self.height * self.width

    @property
    def length(self) -> int:
        """Tokens of an image: bos, label, pixels."""
        return self.pixels + 2

    @property
    def label_ids(self) -> range:
        """Ids of the labels; the id of no label follows them."""
        return range(self.levels, self.levels + self.labels)

    @property
    def no_label_id(self) -> int:
        """Id that stands for no label: of images without one, and of guidance."""
        return self.levels + self.labels

    @property
    def mask_id(self) -> int:
        """Id of the mask; no image contains it."""
        return self.no_label_id + 1

    @property
    def bos_id(self) -> int:
        """Id of the token that begins an image."""
        return self.no_label_id + 2

    @property
    def special_tokens(self) -> dict[str, int]:
        """Text to id of the special tokens."""
        labels = {f"<|label_{number}|>": token for number, token in enumerate(self.label_ids)}
        bos = f"<|image {self.height}x{self.width}|>"
        others = (NO_LABEL, MASK, bos, END, UNKNOWN)
        return labels | {text: token for token, text in enumerate(others, self.no_label_id)}


def parse_pixel_format(name: str) -> PixelFormat:
    """Reads a name such as `pixels:28x28:4:10`.

    Raises:
        TokenizerError: The name has another form, or a number is out of range.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise TokenizerError(f"`{name[:80]}` is not of the form {FORM}, such as pixels:28x28:4:10", _INVALID)
    height, width, levels, labels = map(int, found.groups())
    return PixelFormat(height, width, levels, labels)


def pixel_tokenizer(pixels: PixelFormat) -> HuggingFaceTokenizer:
    """Builds the tokenizer as a word-level model of decimal levels, a form that transformers loads.

    >>> pixel_tokenizer(PixelFormat(1, 2, levels=4, labels=2)).encode("<|label_1|>3 0")
    [5, 3, 0]

    Args:
        pixels: Shape, levels and labels.
    """
    special = pixels.special_tokens
    bos = next(text for text, token in special.items() if token == pixels.bos_id)
    vocab = {str(level): level for level in range(pixels.levels)} | special
    tokenizer = tokenizer_file(
        {"type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN},
        special,
        pre_tokenizer={"type": "WhitespaceSplit"},
        post_processor=begins_with(bos, pixels.bos_id),
    )
    config = config_file({"bos": bos, "eos": END, "pad": None, "unk": UNKNOWN})
    return HuggingFaceTokenizer.from_files({TOKENIZER_FILE: tokenizer, CONFIG_FILE: config}, pixels.name)


def pixel_format(tokenizer: Tokenizer) -> PixelFormat:
    """Reads shape, levels and labels from the vocabulary of a tokenizer of images.

    Args:
        tokenizer: A tokenizer that `pixel_tokenizer` made, from any copy of its files.

    Raises:
        TokenizerError: The tokenizer is not one of images.
    """
    special = tokenizer.special_tokens
    shapes = [found for found in map(_SHAPE.fullmatch, special) if found is not None]
    if len(shapes) == 1:
        height, width = map(int, shapes[0].groups())
        labels = sum(_LABEL.fullmatch(text) is not None for text in special)
        levels = len(tokenizer.vocab) - len(special)
        found = PixelFormat(height, width, levels, labels)
        expected = {str(level): level for level in range(levels)} | found.special_tokens
        if dict(tokenizer.vocab) == expected and dict(special) == found.special_tokens:
            return found
    raise TokenizerError(
        f"`{tokenizer.name}` is not a tokenizer of images: give {FORM}, or a model that was trained with such a tokenizer",
        _NOT_PIXELS,
    )


def _out_of_range(name: str, value: str, allowed: str) -> TokenizerError:
    return TokenizerError(f"`{name}` of a tokenizer of images is {value}: give {allowed}", _INVALID)
