"""A small repository as its users keep one: rows, lengths and a lock under git. For tests of locks in CI."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from lazarus_plan import LengthCache, LengthRow, LengthsHeader, PlanConfig, build_plan, read_lengths, save_plan
from lazarus_plan.locks.lock import write_lock

CONFIG = PlanConfig(token_budget=1024, row_len=256, epochs=1, seed=0)
IDENTITY = {"GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "n@e", "GIT_COMMITTER_NAME": "n", "GIT_COMMITTER_EMAIL": "n@e"}


def row(number: int, text: str = "") -> dict[str, str]:
    return {"id": f"r{number}", "text": text or "word " * (1 + number * number % 40) + str(number)}


class Repository:
    """Rows in `rows.jsonl`, their lengths in `lengths.jsonl`, the lock in `batch_plan.lock`; the plan is elsewhere."""

    def __init__(self, root: Path, rows: int = 300) -> None:
        self.root, self.plan = root, root.parent / "plans" / "plan"
        self.data, self.lengths, self.lock = root / "rows.jsonl", root / "lengths.jsonl", root / "batch_plan.lock"
        root.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.write([row(number) for number in range(rows)])

    def git(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env={**os.environ, **IDENTITY, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull},
            capture_output=True,
            encoding="utf-8",
            check=check,
        )

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "commit", "--no-verify")

    def read(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.data.read_text("utf-8").splitlines()]

    def write(self, rows: list[dict[str, str]]) -> None:
        self.data.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")

    def measure(self, tokenizer: str = "bytes") -> None:
        """What `lazarus data lengths build` does; the tokenizer `halves` needs half as many tokens."""
        content = self.data.read_bytes()
        rows = []
        for each in self.read():
            digest = hashlib.sha256(each["text"].encode()).hexdigest()[:8]
            tokens = len(each["text"]) // (2 if tokenizer == "halves" else 1)
            ids = hashlib.sha256(f"{tokenizer}|{each['text']}".encode()).hexdigest()[:8]
            rows.append(LengthRow(each["id"], tokens, h=ids, row=digest))
        file = {"name": self.data.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        header = LengthsHeader(
            len(rows),
            data=f"sha256:{hashlib.sha256(''.join(str(each.row) for each in rows).encode()).hexdigest()}",
            template="sha256:" + "e" * 64,
            tokenizer=f"sha256:{hashlib.sha256(tokenizer.encode()).hexdigest()}",
            encoding={"encode_version": 1},
            parts={"data": {"files": [file]}},
        )
        self.lengths.write_bytes(header.line() + b"".join(each.line() for each in rows))

    def cache(self) -> LengthCache:
        return read_lengths(self.lengths)

    def build(self, config: PlanConfig = CONFIG) -> None:
        """The plan, outside the repository, and its lock in it."""
        save_plan(build_plan(self.cache(), config), self.plan)
        write_lock(self.plan, self.lock)

    def make_all(self, config: PlanConfig = CONFIG) -> "Repository":
        self.measure()
        self.build(config)
        return self
