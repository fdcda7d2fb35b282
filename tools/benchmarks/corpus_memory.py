"""Largest memory of a build of lazarus-corpus by the amount of text: of the parent and of its largest worker.

    uv run python tools/benchmarks/corpus_memory.py [--megabytes 100,300,1000] [--workers 2] [--units none] [--folder FOLDER]

Documents of 2,000 characters are words of a seeded generator, by Zipf's law over 50,000 words; one in ten is a near duplicate of the one
before, one in fifty a copy. They lie in eight files. Each size is built in a new process, and its files are removed afterwards.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FILES = 8
WORDS = 50_000


def write_documents(folder: Path, megabytes: float) -> int:
    """Writes the files, and returns the number of documents."""
    generator = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(generator.choice(letters, size)) for size in generator.integers(2, 11, WORDS)]
    shares = 1 / np.arange(1, WORDS + 1)
    shares /= shares.sum()
    written = number = 0
    text = ""
    streams = [(folder / f"{part}.jsonl").open("w", encoding="utf-8") for part in range(FILES)]
    while written < megabytes * 1e6:
        drawn = iter(generator.choice(WORDS, 300 * 1_000, p=shares).reshape(-1, 300).tolist())
        for places in drawn:
            if number % 10 == 9:
                text = text.replace(" ", " near ", 1)
            elif number % 50 != 25:
                text = " ".join(map(words.__getitem__, places))
            line = json.dumps({"id": f"d{number}", "text": text}) + "\n"
            streams[number % FILES].write(line)
            written += len(line)
            number += 1
            if written >= megabytes * 1e6:
                break
    for stream in streams:
        stream.close()
    return number


def build(data: Path, output: Path, workers: int, units: str) -> None:
    """Builds and prints documents kept, and the largest memory of the parent and of a child, in the system's unit."""
    from lazarus_corpus import build_corpus, from_files
    from lazarus_corpus.settings import DedupSettings

    settings = from_files([data], dedup=DedupSettings(units=units))  # pyright: ignore[reportArgumentType]
    report = build_corpus(settings, output, workers=workers)
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(report.documents, own, child)


def main() -> None:
    if sys.argv[1:2] == ["--build"]:
        data, output, workers, units = sys.argv[2:6]
        build(Path(data), Path(output), int(workers), units)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", default="100,300,1000")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--units", choices=("none", "line", "paragraph"), default="none")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    unit = 2**20 if sys.platform == "darwin" else 2**10
    for size in map(float, given.megabytes.split(",")):
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            data = Path(name) / "data"
            data.mkdir()
            count = write_documents(data, size)
            for workers in given.workers.split(","):
                output = Path(name) / f"out{workers}"
                command = [sys.executable, __file__, "--build", str(data), str(output), workers, given.units]
                started = time.perf_counter()
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
                seconds = time.perf_counter() - started
                documents, own, child = map(int, done.stdout.split())
                print(
                    f"{size:6.0f} MB, {count:>9,} documents, {documents:>9,} kept, {workers} workers: {seconds:6.1f} s,"
                    f" parent {own / unit:5.0f} MiB, largest worker {child / unit:5.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
