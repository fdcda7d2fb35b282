"""Time to open an OpenAI encoding again, against tiktoken, in one process.

    uv run python tools/benchmarks/tokenkit_encodings.py [ENCODING] [--bound 2]

The first opening converts the encoding and keeps it in the cache; it is not measured. TIKTOKEN_CACHE_DIR names a folder with
tiktoken's files where there is no network. Exit 1 if the ratio is above the bound.
"""

import argparse
import timeit

import tiktoken
import tiktoken.registry

from lazarus_tokenkit import load_tokenizer

ROUNDS = 7


def main() -> None:
    """Prints the least seconds of each and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoding", nargs="?", default="o200k_base")
    parser.add_argument("--bound", type=float, default=2.0, help="largest ratio that exits 0")
    asked = parser.parse_args()

    def theirs() -> None:
        tiktoken.registry.ENCODINGS.clear()
        tiktoken.get_encoding(asked.encoding)

    load_tokenizer(asked.encoding)
    pairs = [
        (timeit.timeit(lambda: load_tokenizer(asked.encoding), number=1), timeit.timeit(theirs, number=1))
        for _ in range(ROUNDS)
    ]
    ours, other = (min(times) for times in zip(*pairs, strict=True))
    print(
        f"{asked.encoding}: lazarus-tokenkit {ours:.3f} s, tiktoken {other:.3f} s, ratio {ours / other:.2f}, bound {asked.bound}"
    )
    raise SystemExit(ours > asked.bound * other)


if __name__ == "__main__":
    main()
