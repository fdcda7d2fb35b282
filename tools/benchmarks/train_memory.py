"""Peak memory and speed of training steps for every family: a Markdown table, one line a family.

    .venv/bin/python tools/benchmarks/train_memory.py --models MODELS [--base OTHER/.venv/bin/python] [--checkpointing]

MODELS holds one model directory a family. A step of 2 and one of 8 full rows are run in processes of their own, under a limit
on memory. The difference of their peaks (resident memory, so the interpreter and the weights drop out) is what a token
takes. `--base` runs the same steps with another checkout, for the columns "before".
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

ROWS = (2, 8)
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def run(python: str, setup: dict, limit: int) -> dict | None:
    """Peak bytes and tokens a second of one set-up, or None where it failed."""
    read, write = os.pipe()
    with open(read, "rb") as out:  # noqa: PTH123 (a file descriptor)
        command = [python, "-W", "ignore", "-m", "lazarus_train.tune.measure", json.dumps(setup)]
        child = subprocess.Popen(
            command,
            stdout=write,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
        os.close(write)
        text = out.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return None if child.returncode else {"peak": usage.ru_maxrss * UNIT, **json.loads(text)}


def per_token(python: str, setup: dict, limit: int) -> tuple[str, str]:
    """KiB a token and tokens a second, as text."""
    small, large = (run(python, {**setup, "rows": rows}, limit) for rows in ROWS)
    if small is None or large is None:
        return f"over {limit >> 30} GiB", "-"
    tokens = (ROWS[1] - ROWS[0]) * setup["row_len"]
    return f"{(large['peak'] - small['peak']) / tokens / 1024:,.0f}", f"{large['tokens_per_s']:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of model directories")
    parser.add_argument("--base", help="Python of another checkout, for the columns 'before'")
    parser.add_argument("--row-len", type=int, default=256, help="tokens a row")
    parser.add_argument("--steps", type=int, default=2, help="steps that are measured")
    parser.add_argument("--checkpointing", action="store_true", help="recompute the activations of blocks")
    parser.add_argument("--only", help="names of families, separated by commas")
    parser.add_argument("--limit-gib", type=float, default=6.0, help="address space that a process may take")
    asked = parser.parse_args()
    limit = int(asked.limit_gib * 2**30)
    pythons = [*([asked.base] if asked.base else []), sys.executable]
    heads = [f"{what}, {when}" for what in ("KiB a token", "tokens/s") for when in ("before", "after")]
    if not asked.base:
        heads = [head.removesuffix(", after") for head in heads if head.endswith("after")]
    print(f"| family | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    names = asked.only.split(",") if asked.only else sorted(each.name for each in asked.models.iterdir())
    for name in names:
        setup = {"model": str(asked.models / name), "row_len": asked.row_len, "steps": asked.steps}
        setup["recomputes"] = asked.checkpointing
        found = [per_token(python, setup, limit) for python in pythons]
        print(f"| {name} | {' | '.join(each for column in zip(*found, strict=True) for each in column)} |", flush=True)


if __name__ == "__main__":
    main()
