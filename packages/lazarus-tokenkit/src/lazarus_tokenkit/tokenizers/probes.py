"""Fixed texts whose encodings make up the behavioural fingerprint.

Characters that an editor or a normalizer could change are written as escapes. Some code points are from Unicode 15 and
16: their ids can depend on the version of the engine.
"""

from collections.abc import Iterable

PROBES_VERSION = 1
"""Increased with every change to the probes. Behavioural digests of two versions cannot be compared."""

_WHITE_SPACE = (
    "",
    " ",
    "  ",
    "   a",
    "a   ",
    " a  b   c ",
    "\t",
    "a\tb",
    "\n",
    "\n\n\n",
    "a\r\nb\rc\n",
    "a \n b",
    " \t \n ",
)
_WORDS = (
    "Hello, world!",
    "hello",
    " hello",
    "HELLO HeLLo",
    "I'm you're they've he'll she'd it's don't",
    "I'M YOU'RE THEY'VE HE'LL SHE'D IT'S DON'T",
    "state-of-the-art e.g. U.S.A. a_b snake_case camelCase",
    "https://example.org/a?b=c&d=%20#e user@example.org",
    "def f(x):\n    return x ** 2  # square\n",
    '{"key": [1, 2.5, null], "s": "\\u00e9\\n"}',
    "supercalifragilisticexpialidocious",
)
_NUMBERS = (
    "0",
    "12",
    "345",
    "1234",
    "12345",
    "123456",
    "1234567",
    "12345678",
    "123456789012",
    "3.14159 -2e10 1,000,000 $5%",
)
_UNICODE = (
    "caf\u00e9 \u00fcber na\u00efve",  # NFC
    "cafe\u0301 u\u0308ber",  # NFD
    "\ufb01ne \ufb02at \u0133",  # ligatures
    "\uff21\uff22\uff23\uff11\uff12\uff13",  # full width
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f",  # ZWJ, flag, variation
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u65e5\u672c\u8a9e\u3067\u3059 \ud55c\uad6d\uc5b4",
    "\u0627\u0644\u0633\u0644\u0627\u0645 \u05e9\u05dc\u05d5\u05dd",  # right to left
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "a\u0300\u0301\u0302\u0303 Z\u0351\u036b\u0343",  # stacked marks
    "a\u00a0b\u3000c\u2009d\u200be\ufeff",  # spaces outside ASCII
    "\u0000\u0001\u001b\u007f\u0085",  # control
    "\ufffd",
    "\u2581a \u2581",  # SentencePiece's visible space
    "\u0130\u0131\u00df\u1e9e\u01c5",  # case without a simple pair
    "\u00b2\u2075\u2167\u2460\u0664",  # superscript, Roman, circled and Arabic-Indic digits
    "\U0001d2c0\U0001d2d3\U0001fae8\U0001fae9\u0870\u1c89\ua7cb\U00016d40\U0001e5d0",  # Unicode 14 to 16
    "\u20ac\u00a3\u00a5 \u2014 \u201cquoted\u201d \u2026 \u2022",
)
_SPECIALS = (
    "<s>",
    "</s>",
    "<|endoftext|>",
    "<|im_start|>user\nhi<|im_end|>\n",
    "[INST] [/INST] <unk> [CLS] <pad>",
    "<0x0A>",
)
_LONG = ("a" * 10_000, " " * 300, "\u00e9" * 300)


def probes(special_tokens: Iterable[str]) -> list[str]:
    """Returns the fixed probes, then one probe for each special token, in the order of their texts."""
    inside = [f"a {token} b{token}{token}\nc" for token in sorted(special_tokens)]
    return [*_WHITE_SPACE, *_WORDS, *_NUMBERS, *_UNICODE, *_SPECIALS, *_LONG, *inside]
