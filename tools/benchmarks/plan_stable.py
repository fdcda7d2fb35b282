"""What mode stable keeps when data change, and what it costs: the table of lazarus-plan's README.

    uv run python tools/benchmarks/plan_stable.py DATA MODEL [--token-budget 8192] [--row-len 1088]

DATA is GSM8K's train.jsonl (fields `question` and `answer`), MODEL a directory with a tokenizer.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from lazarus_plan import BatchPlan, LengthCache, PlanConfig, build_plan, diff_plans
from lazarus_tokenkit import Encoder, FieldNames, encode_rows, load_tokenizer, source_header

EDITS: dict[str, Callable[[list[str]], list[str]]] = {
    "one row edited": lambda rows: [*rows[:3000], _edited(rows[3000]), *rows[3001:]],
    "one row removed": lambda rows: rows[:3000] + rows[3001:],
    "one row added in front": lambda rows: [_edited(rows[0]), *rows],
    "ten rows edited": lambda rows: [_edited(row) if n % 700 == 350 else row for n, row in enumerate(rows)],
    "100 rows appended": lambda rows: [*rows, *map(_edited, rows[:100])],
}


def _edited(row: str) -> str:
    members = json.loads(row)
    return json.dumps(members | {"answer": members["answer"] + " Really."}) + "\n"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("model", type=Path)
    arguments.add_argument("--token-budget", type=int, default=8192)
    arguments.add_argument("--row-len", type=int, default=1088)
    given = arguments.parse_args()
    encoder = Encoder(load_tokenizer(str(given.model)))
    rows = given.data.read_text("utf-8").splitlines(keepends=True)
    caches = {name: measure(edit(rows), encoder) for name, edit in {"as it is": list, **EDITS}.items()}
    plans = {mode: {name: plan(cache, mode, given) for name, cache in caches.items()} for mode in ("packed", "stable")}
    print("| | packed | stable |\n|---|---|---|")
    print("| steps | " + " | ".join(f"{len(each['as it is'])}" for each in plans.values()) + " |")
    print("| padding in rows | " + " | ".join(padding(each["as it is"]) for each in plans.values()) + " |")
    for name in EDITS:
        kept = (diff_plans(each["as it is"], each[name])["kept_steps"] for each in plans.values())
        print(f"| steps kept, {name} | " + " | ".join(map(str, kept)) + " |")


def measure(rows: list[str], encoder: Encoder) -> LengthCache:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(rows), "utf-8")
        encoded = list(encode_rows(path, encoder, FieldNames(prompt="question", completion="answer")))
        header = source_header(path, encoder, [each.row_digest for each in encoded])
    return LengthCache.from_rows((each.length_row for each in encoded), header)


def plan(cache: LengthCache, mode: str, given: argparse.Namespace) -> BatchPlan:
    config = {"token_budget": given.token_budget, "row_len": given.row_len, "mode": mode}
    return build_plan(cache, PlanConfig.model_validate(config))


def padding(of: BatchPlan) -> str:
    rows = sum(len(of.step(index).rows) for index in range(len(of)))
    return f"{100 - 100 * int(of.tokens.sum()) / (rows * of.row_len):.2f} %"


if __name__ == "__main__":
    main()
