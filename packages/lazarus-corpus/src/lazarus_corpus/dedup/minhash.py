"""MinHash signatures of word n-grams (Broder 1997), as bands for locality-sensitive hashing.

All of it is integer arithmetic on digests, so a signature is the same on every machine and in every process.
"""

import hashlib
import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
_UNSPACED = r"\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Lao, Khmer, Japanese and Chinese, which are written without spaces: each character counts as a word."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
_BLOCK = 2048
"""N-grams hashed at once; 128 permutations of a block have 2 MiB."""


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters, digits and underscores, without case; single characters of unspaced scripts.

    >>> words_of("The cat's  HAT!")
    ['the', 'cat', 's', 'hat']
    >>> words_of("\u4f60\u597d world")
    ['\u4f60', '\u597d', 'world']
    """
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=1 << 18)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _mixed(values: U64) -> U64:
    """The finalizer of SplitMix64 (Steele et al. 2014): each bit of the result depends on all bits of the value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def shingles(text: str, ngram: int) -> U64:
    """The set of word n-grams of a text as sorted 64-bit hashes. A shorter text is one n-gram; a text without words, none.

    Args:
        text: The text.
        ngram: Words of an n-gram.
    """
    return shingles_of_words(words_of(text), ngram)


def shingles_of_words(words: list[str], ngram: int) -> U64:
    """As `shingles`, for words.

    Args:
        words: The words in order.
        ngram: Words of an n-gram.
    """
    return np.unique(ordered_shingles(words, ngram))


def ordered_shingles(words: list[str], ngram: int) -> U64:
    """The hashes of all word n-grams in their order, repeated ones too.

    Args:
        words: The words in order.
        ngram: Words of an n-gram.
    """
    if not words:
        return np.empty(0, np.uint64)
    hashes = np.fromiter(map(_word_hash, words), np.uint64, len(words))
    size = min(ngram, len(words))
    total = np.zeros(len(words) - size + 1, np.uint64)
    for place in range(size):
        total = _mixed(total + hashes[place : len(hashes) - size + 1 + place])
    return total


def jaccard(one: U64, other: U64) -> float:
    """Jaccard similarity of two sets: members of both by members of either; 1 for two empty sets.

    Args:
        one: Sorted, without repetition.
        other: The same.
    """
    both = len(np.intersect1d(one, other, assume_unique=True))
    either = len(one) + len(other) - both
    return both / either if either else 1.0


def share_found(similarity: float, bands: int, rows: int) -> float:
    """The probability that two sets have an equal band.

    >>> round(share_found(0.8, 16, 8), 3)
    0.947

    Args:
        similarity: Their Jaccard similarity.
        bands: Bands of a signature.
        rows: Values of a band.
    """
    return 1 - (1 - similarity**rows) ** bands


class MinHash:
    """Makes signatures of `bands` bands.

    Two sets of Jaccard similarity s have an equal value with probability s, an equal band with s**rows, and at least one equal
    band with 1 - (1 - s**rows)**bands.

    Args:
        bands: Number of bands.
        rows: Permutations of a band.
    """

    def __init__(self, bands: int, rows: int) -> None:
        self.bands, self.rows = bands, rows
        count = bands * rows
        places = np.arange(1, 2 * count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        drawn = _mixed(places)
        self._factor = (drawn[:count] | np.uint64(1))[:, None]
        self._offset = drawn[count:][:, None]
        self._fold = _mixed(np.arange(1, rows + 1, dtype=np.uint64))[None, :]

    def bands_of(self, hashes: U64) -> U64:
        """One 64-bit number for each band.

        Args:
            hashes: Members of the set.
        """
        least = np.full(self.bands * self.rows, np.iinfo(np.uint32).max, np.uint32)
        with np.errstate(over="ignore"):
            for start in range(0, len(hashes), _BLOCK):
                block: NDArray[Any] = self._factor * hashes[None, start : start + _BLOCK]
                block += self._offset
                block >>= np.uint64(32)
                np.minimum(least, block.min(axis=1).astype(np.uint32), out=least)
            values = least.astype(np.uint64).reshape(self.bands, self.rows)
            folded = np.zeros(self.bands, np.uint64)
            for row in range(self.rows):
                folded = _mixed(folded * np.uint64(0x9E3779B97F4A7C15) + values[:, row] + self._fold[0, row])
        return folded
