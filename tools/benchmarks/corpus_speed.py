"""Compares a build of lazarus-corpus with plain datatrove: the same steps, data and machine, in one run.

    uv run --all-extras --with orjson --with "xxhash<4" python tools/benchmarks/corpus_speed.py TEXTS [--megabytes 20] [--rules gopher] [--memory 100,1000]

Steps: read JSON Lines, rules (datatrove's classes in both), MinHash deduplication (5-grams, 16 bands of 8), write compressed JSON Lines; one
process at a time. Each side runs in a new process, which reports its time and its largest memory. Documents are sentences of the
files in the folder TEXTS in random order, with one near duplicate in ten. `--memory` builds corpora of several sizes and prints the
largest memory of each.
"""

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHARACTERS = 2_000
"""Of a document."""


def write_documents(texts: Path, target: Path, megabytes: float) -> None:
    lines = [line for path in sorted(texts.glob("*.txt")) for line in path.read_text("utf-8").splitlines()]
    sentences = [part.strip() + "." for line in lines for part in line.split(" . ") if len(part.split()) > 5]
    generator = random.Random(0)
    written = number = 0
    previous = ""
    with target.open("w", encoding="utf-8") as stream:
        while written < megabytes * 1e6:
            if number % 10 == 9:
                text = previous.replace(" the ", " a ", 1)
            else:
                parts: list[str] = []
                while sum(map(len, parts)) < CHARACTERS:
                    parts.append(generator.choice(sentences))
                text = "\n".join(parts)
            previous = text
            row = json.dumps({"id": f"d{number}", "text": text})
            stream.write(row + "\n")
            written += len(row)
            number += 1


def ours(data: Path, output: Path, rules: str) -> None:
    from lazarus_corpus import build_corpus, from_files
    from lazarus_corpus.settings import CleaningSettings, FilterSettings, SplitSettings

    names = tuple(name for name in rules.split(",") if name)
    settings = from_files(
        [data],
        cleaning=CleaningSettings(unicode=False, newlines=False),
        filters=FilterSettings(rules=names),  # pyright: ignore[reportArgumentType]
        split=SplitSettings(validation=0.0),
    )
    report = build_corpus(settings, output)
    print(report.documents, end=" ")


def datatroves(data: Path, output: Path, rules: str) -> None:
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline import filters
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from loguru import logger

    logger.remove()
    classes = {
        "gopher": filters.GopherQualityFilter,
        "c4": filters.C4QualityFilter,
        "fineweb": filters.FineWebQualityFilter,
        "repetition": filters.GopherRepetitionFilter,
    }
    chosen = [classes[name]() for name in rules.split(",") if name]
    config = MinhashConfig(n_grams=5, num_buckets=16, hashes_per_bucket=8)
    kept = output / "kept"
    steps = [
        ([JsonlReader(str(data.parent), glob_pattern=data.name), *chosen, JsonlWriter(str(kept))], 1),
        ([JsonlReader(str(kept)), MinhashDedupSignature(str(output / "signatures"), config=config)], 1),
        ([MinhashDedupBuckets(str(output / "signatures"), str(output / "buckets"), config=config)], 16),
        ([MinhashDedupCluster(str(output / "buckets"), str(output / "remove"), config=config)], 1),
        ([JsonlReader(str(kept)), MinhashDedupFilter(str(output / "remove")), JsonlWriter(str(output / "out"))], 1),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(output / "logs" / str(number))).run()
    print(sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in (output / "out").glob("*.gz")), end=" ")


def measured(side: str, data: Path, rules: str) -> tuple[int, float, float]:
    """Documents kept, seconds and MiB of one side in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--side", side, str(data), str(Path(folder) / "out"), rules]
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        seconds = time.perf_counter() - started
    documents, memory = done.stdout.split()[-2:]
    return int(documents), seconds, int(memory) / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    if sys.argv[1:2] == ["--side"]:
        side, data, output, rules = sys.argv[2:6]
        {"ours": ours, "datatrove": datatroves}[side](Path(data), Path(output), rules)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", type=Path)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rules", default="gopher")
    parser.add_argument("--memory", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data" / "documents.jsonl"
        data.parent.mkdir()
        write_documents(given.texts, data, given.megabytes)
        for _ in range(given.rounds):
            found = {side: measured(side, data, given.rules) for side in ("datatrove", "ours")}
            for side, (documents, seconds, memory) in found.items():
                speed = given.megabytes / seconds
                print(f"{side:<10} {documents:>8,} kept {seconds:7.1f} s {speed:6.2f} MB/s {memory:7.0f} MiB")
            print(f"ours by datatrove: {found['datatrove'][1] / found['ours'][1]:.2f}")
        for size in (float(each) for each in given.memory.split(",") if each):
            write_documents(given.texts, data, size)
            documents, seconds, memory = measured("ours", data, "")
            print(f"{size:7.0f} MB {documents:>9,} kept {seconds:7.1f} s {memory:7.0f} MiB")


if __name__ == "__main__":
    main()
