from collections.abc import Callable
from pathlib import Path

import pytest

from lazarus_core.console import run
from lazarus_plan import BatchPlan, LengthCache, LengthRow, LengthsHeader, PlanConfig, build_plan, save_plan
from lazarus_plan.cli.app import app

LENGTHS = [17, 30, 64, 5, 12, 40, 33, 9, 21, 58, 3, 47, 26, 11, 62, 8, 19, 35, 44, 14]


def header(count: int, **changes: object) -> LengthsHeader:
    members = {
        "data": "sha256:" + "d" * 64,
        "template": "sha256:" + "e" * 64,
        "tokenizer": "sha256:" + "f" * 64,
        "encoding": {"max_length": 64},
        "parts": {"tokenizer": {"vocab": "v1", "merges": "m1", "special_ids": {"eos": 2}, "behavioural": "b1"}},
    }
    return LengthsHeader(count, **(members | changes))  # pyright: ignore[reportArgumentType] # values by name


@pytest.fixture
def make_cache() -> Callable[..., LengthCache]:
    """A cache with a header: `make_cache(lengths, digests={3: "changed"}, tokenizer="sha256:..")`."""

    def make(
        lengths: list[int] | None = None,
        *,
        rows: dict[int, str] | None = None,
        h: dict[int, str] | None = None,
        **changes: object,
    ) -> LengthCache:
        lengths = LENGTHS if lengths is None else lengths
        content = [
            LengthRow(
                f"s{place}",
                length,
                h=(h or {}).get(place, f"{place + 100:08x}"),
                row=(rows or {}).get(place, f"{place:08x}"),
            )
            for place, length in enumerate(lengths)
        ]
        return LengthCache.from_rows(content, header(len(lengths), **changes), name="lengths.jsonl")

    return make


@pytest.fixture
def cache(make_cache: Callable[..., LengthCache]) -> LengthCache:
    return make_cache()


@pytest.fixture
def plan(cache: LengthCache) -> BatchPlan:
    """20 samples in 2 epochs of 5 steps each, 2 rows of 64 tokens a step."""
    return build_plan(cache, PlanConfig(token_budget=128, row_len=64, epochs=2))


@pytest.fixture
def folder(plan: BatchPlan, tmp_path: Path) -> Path:
    """The same plan on disk."""
    save_plan(plan, tmp_path / "plan")
    return tmp_path / "plan"


@pytest.fixture
def lengths_file(cache: LengthCache, tmp_path: Path) -> Path:
    """The cache of the plan on disk."""
    path = tmp_path / "lengths.jsonl"
    rows = [
        LengthRow(f"s{place}", length, h=f"{place + 100:08x}", row=f"{place:08x}")
        for place, length in enumerate(LENGTHS)
    ]
    path.write_bytes(cache.header.line() + b"".join(row.line() for row in rows))
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs the command line: `code, out, err = command("info", "-p", path)`."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["lazarus-plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run(app, "lazarus-plan")
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call
