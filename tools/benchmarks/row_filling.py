"""How rows are filled: our plans, and the loader of nanochat, which crops documents, on the same tokens.

    uv run python tools/benchmarks/row_filling.py [--rows 512,1024,2048] [--json]

nanochat's rule (its `dataloader.py`: best fit with cropping): a row takes the largest of 1,000 buffered documents that fits whole, again
and again; when none fits, it takes the beginning of the shortest one and drops its end. Ours: `--oversize split` at one token budget, whole
documents first, and long ones in pieces. The documents are the articles of WikiText-2 and the questions of GSM8K with answers, in GPT-2's tokens,
with one token before each. Needs the real inputs (`LAZARUS_TEST_DATA`, default `../shared/data` beside the repository).
"""

import argparse
import json
import os
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lazarus_plan import PlanConfig, build_plan, read_lengths
from lazarus_tokenkit import Encoder, build_lengths, load_tokenizer

DATA = Path(os.environ.get("LAZARUS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
BUFFER = 1000
"""Documents among which nanochat chooses."""


def articles(text: str) -> Iterator[str]:
    """The articles of a file of WikiText: a title has one equals sign on each side."""
    yield from (part for part in re.split(r"\n(?= = [^=].* = \n)", text) if part.strip())


def documents(name: str) -> list[str]:
    if name == "articles":
        files = [DATA / f"datasets/text/wikitext2-{part}.txt" for part in ("valid", "test")]
        return [each for file in files for each in articles(file.read_text("utf-8"))]
    lines = (DATA / "datasets/gsm8k/train.jsonl").read_text("utf-8").splitlines()
    return [f"{row['question']}\n{row['answer']}" for row in map(json.loads, lines)]


def cropped(lengths: list[int], row: int) -> dict[str, float]:
    """Rows of nanochat's rule, until the documents are used up."""
    left, buffer = lengths[::-1], list[int]()
    rows = cut = lost = 0
    while True:
        room = row
        while room:
            while left and len(buffer) < BUFFER:
                buffer.append(left.pop())
            if not buffer:
                break
            fitting = [each for each in buffer if each <= room]
            taken = max(fitting) if fitting else min(buffer)
            buffer.remove(taken)
            if taken > room:
                cut, lost = cut + 1, lost + taken - room
            room -= min(taken, room)
        if room:  # the last row stays unfinished
            lost += row - room
            break
        rows += 1
    total = sum(lengths)
    return {"rows": rows, "filled": 1.0, "lost": lost / total, "cut": cut / len(lengths)}


def planned(folder: Path, lengths: list[int], row: int) -> dict[str, float]:
    """Rows of a plan of one epoch."""
    plan = build_plan(
        read_lengths(folder / "lengths.jsonl"), PlanConfig(token_budget=32 * row, row_len=row, oversize="split")
    )
    steps = [plan.step(index) for index in range(len(plan))]
    rows, tokens = sum(len(step.rows) for step in steps), sum(step.tokens for step in steps)
    long = sum(each > row for each in lengths)
    return {
        "rows": rows,
        "filled": tokens / (rows * row),
        "lost": 1 - tokens / sum(lengths),
        "cut": long / len(lengths),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="512,1024,2048")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"no real inputs at {DATA}: set LAZARUS_TEST_DATA")
    encoder = Encoder(load_tokenizer(str(DATA / "tokenizers/gpt2")))
    found = []
    for name in ("articles", "questions"):
        texts = documents(name)
        random.Random(0).shuffle(texts)
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            (folder / "d.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
            build_lengths(folder / "d.jsonl", encoder, folder / "lengths.jsonl")
            lengths = [int(each) for each in read_lengths(folder / "lengths.jsonl").length]
            for row in map(int, asked.rows.split(",")):
                for who, result in (
                    ("lazarus", planned(folder, lengths, row)),
                    ("nanochat's rule", cropped(lengths, row)),
                ):
                    found.append({"documents": name, "row": row, "loader": who, **result})
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    print("| documents | row | loader | rows | filled | tokens lost | documents cut |\n|---|---|---|---|---|---|---|")
    for each in found:
        print(
            f"| {each['documents']} | {each['row']:,} | {each['loader']} | {each['rows']:,} | {each['filled']:.1%} | "
            f"{each['lost']:.1%} | {each['cut']:.1%} |"
        )


if __name__ == "__main__":
    main()
