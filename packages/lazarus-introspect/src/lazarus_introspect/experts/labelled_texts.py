"""Labelled texts for the specialisation of experts: 12 each of code, mathematics, names and prose, or those of a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.jsonl import read_objects
from lazarus_introspect.errors import RequestError
from lazarus_introspect.site_table import decoder_of
from lazarus_models.vocabulary import check_ids
from lazarus_tokenkit import Tokenizer

_MOST_TEXTS = 10_000
_MOST_LABELS = 64

CODE = (
    "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)",
    "for (int i = 0; i < count; i++) {\n    total += values[i];\n}",
    "import json\nwith open(path) as file:\n    rows = json.load(file)",
    "SELECT name, price FROM orders WHERE price > 100 ORDER BY price;",
    "class Stack:\n    def __init__(self):\n        self.items = []",
    "const sum = (a, b) => a + b;\nconsole.log(sum(2, 3));",
    "if err != nil {\n    return nil, err\n}",
    "fn main() {\n    let mut x = 5;\n    x += 1;\n}",
    "git commit -m 'fix tests' && git push origin main",
    "try:\n    value = int(text)\nexcept ValueError:\n    value = None",
    "public static void main(String[] args) {\n    System.out.println(args.length);\n}",
    'while True:\n    line = input()\n    if line == "quit":\n        break',
)
MATH = (
    "7 * 8 = 56 and 56 / 8 = 7",
    "If x + 3 = 10, then x = 7.",
    "The area of a circle is pi * r^2.",
    "12 + 34 = 46; 46 - 12 = 34",
    "Solve 2x - 6 = 0. Then 2x = 6, so x = 3.",
    "The sum of 1, 2, 3, 4 and 5 is 15.",
    "3/4 + 1/8 = 6/8 + 1/8 = 7/8",
    "sqrt(144) = 12 because 12 * 12 = 144",
    "25% of 80 is 20; 10% of 80 is 8.",
    "The derivative of x^2 + 3x is 2x + 3.",
    "2^10 = 1024 and 2^5 = 32",
    "A train at 60 km/h needs 2.5 hours for 150 km.",
)
NAMES = (
    "Alice Johnson, Robert Brown and Maria Garcia",
    "Paris, London, Berlin, Madrid and Rome",
    "Albert Einstein, Marie Curie, Isaac Newton",
    "Microsoft, Google, Amazon, Toyota and Siemens",
    "Mount Everest, Lake Victoria, the River Nile",
    "William Shakespeare, Jane Austen, Leo Tolstoy",
    "Anna, Peter, Thomas, Julia, David and Emma",
    "Japan, Brazil, Canada, Kenya and Norway",
    "Dr. Sarah Miller and Professor James Wilson",
    "Monday, Friday, January, October, Christmas",
    "Harvard University, Oxford, Cambridge, Stanford",
    "Mozart, Beethoven, Bach, Chopin and Vivaldi",
)
PROSE = (
    "The old house at the end of the road had been empty for years.",
    "She opened the window and listened to the rain on the roof.",
    "They walked along the beach until the sun went down.",
    "It was the kind of morning that makes you want to stay in bed.",
    "He had never seen so many birds in the garden before.",
    "The children were playing in the snow while their mother made tea.",
    "Nobody knew where the music came from, but everyone stopped to hear it.",
    "After a long journey we finally came to a small village by the lake.",
    "The cat slept on the warm stones and did not move all day.",
    "We talked about the weather, and then about the people we once knew.",
    "A light wind moved the leaves, and the smell of bread filled the street.",
    "When the letter came, she read it twice and put it away without a word.",
)
TEXTS = {"code": CODE, "math": MATH, "names": NAMES, "prose": PROSE}
"""The labelled texts by label; written for this package."""


@dataclass(frozen=True)
class LabelledText:
    """A text, its label and its token ids."""

    text: str
    label: str
    ids: tuple[int, ...]


def labelled_texts(
    model: Any, tokenizer: Tokenizer, texts: Mapping[str, Sequence[str]] | None = None
) -> list[LabelledText]:
    """Labelled texts as token ids, with BOS if the tokenizer adds it.

    Args:
        model: What `lazarus_models.load` returns, or its `model`.
        tokenizer: Its tokenizer.
        texts: Texts by label; None for the built-in ones.

    Raises:
        RequestError: A text has no tokens.
        GenerationError: An id is outside the model's vocabulary.
    """
    bos = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
    found: list[LabelledText] = []
    for label, own in (TEXTS if texts is None else texts).items():
        for text in own:
            ids = [*bos, *tokenizer.encode(text)]
            if not ids:
                raise RequestError(f"the text {text!r} of label {label!r} has no tokens", "LI-E141")
            check_ids(ids, decoder_of(model).config.vocab_size, f"the text {text!r}")
            found.append(LabelledText(text, label, tuple(ids)))
    return found


def read_labelled_texts(path: Path) -> dict[str, tuple[str, ...]]:
    """Texts by label from a JSON Lines file whose rows have `text` and `label`.

    Args:
        path: The file, with at most 10,000 texts of at most 64 labels.

    Raises:
        RequestError: A row has other members, or there are too many texts or labels.
        MalformedLine: A line is no JSON object.
    """
    found: dict[str, list[str]] = {}
    for number, (row, line, _) in enumerate(read_objects(path)):
        text, label = row.get("text"), row.get("label")
        if not (isinstance(text, str) and isinstance(label, str) and text and label):
            raise RequestError(
                f"{path}:{line}: a row needs `text` and `label`, both texts that are not empty", "LI-E161"
            )
        if number >= _MOST_TEXTS or (label not in found and len(found) >= _MOST_LABELS):
            raise RequestError(
                f"{path}:{line}: more than {_MOST_TEXTS:,} texts or {_MOST_LABELS} labels; give a smaller file",
                "LI-E161",
            )
        found.setdefault(label, []).append(text)
    if not found:
        raise RequestError(f"{path}: no texts; give rows with `text` and `label`", "LI-E161")
    return {label: tuple(texts) for label, texts in found.items()}
