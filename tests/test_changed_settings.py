"""A message about settings or inputs that differ names the field, the value before and the value now.

The situations of training are in `packages/lazarus-train/tests/test_changed_settings.py`.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from lazarus_core.errors import LazarusError
from lazarus_corpus import CorpusSettings, build_corpus, verify_corpus
from lazarus_gym.episodes.run_folder import RunFolder
from lazarus_plan import LengthCache, LengthRow, LengthsHeader, PlanConfig, build_plan, rebase_plan, save_plan
from lazarus_plan.checks import check_lengths
from lazarus_plan.locks.lock import materialise, write_lock
from lazarus_tokenkit import Encoder, build_lengths, compute_fingerprint, load_tokenizer
from lazarus_tokenkit.fingerprint import save_fingerprint, verify_fingerprint

LINKS = {"data": "sha256:" + "d" * 64, "template": "sha256:" + "e" * 64, "tokenizer": "sha256:" + "f" * 64}
PARTS = {"tokenizer": {"merges": "aa", "special_ids": {"eos": 2}}}
OTHER = "sha256:" + "1" * 64


def cache(count: int = 20, **changes: object) -> LengthCache:
    rows = [LengthRow(f"s{n}", 3 + n % 7, h=f"{n:08x}", row=f"{n:08x}") for n in range(count)]
    members = {**LINKS, "encoding": {"max_length": 64}, "parts": PARTS, **changes}
    return LengthCache.from_rows(rows, LengthsHeader(count, **members), name="lengths.jsonl")  # pyright: ignore[reportArgumentType] # by name


def plan(folder: Path, lengths: LengthCache | None = None, *, budget: int = 64, force: bool = True) -> None:
    build_plan(lengths or cache(), PlanConfig(token_budget=budget, row_len=32), folder / "plan", force=force)


def over_a_plan(folder: Path) -> None:
    plan(folder)
    plan(folder, budget=96, force=False)


def over_a_plan_of_other_data(folder: Path) -> None:
    plan(folder)
    plan(folder, cache(data=OTHER), force=False)


def save_over_a_plan(folder: Path) -> None:
    plan(folder)
    save_plan(build_plan(cache(), PlanConfig(token_budget=64, row_len=32, seed=5)), folder / "plan", force=False)


def over_a_lock(folder: Path) -> None:
    plan(folder)
    write_lock(folder / "plan", folder / "lock")
    plan(folder, budget=96)
    write_lock(folder / "plan", folder / "lock", force=False)


def lock_of_other_lengths(folder: Path) -> None:
    plan(folder)
    write_lock(folder / "plan", folder / "lock")
    materialise(folder / "lock", [cache(template=OTHER)], folder / "again")


def check(folder: Path, **changes: object) -> None:
    check_lengths(build_plan(cache(), PlanConfig(token_budget=64, row_len=32), folder / "plan"), cache(**changes))


def rebase_with_another_row_length(_: Path) -> None:
    parent = build_plan(cache(), PlanConfig(token_budget=64, row_len=32))
    rebase_plan(parent, 1, cache(), PlanConfig(token_budget=64, row_len=64))


def episodes(folder: Path) -> None:
    RunFolder(folder / "run", {"seed": 0, "model": {"temperature": 0.5}, "count": 4})
    RunFolder(folder / "run", {"seed": 0, "model": {"temperature": 1.0}, "count": 4})


def another_tokenizer(folder: Path) -> None:
    tokenizer = load_tokenizer("byte")
    save_fingerprint(compute_fingerprint(tokenizer), folder / "tokenizer.lock")
    members = json.loads((folder / "tokenizer.lock").read_text())
    members["components"]["pre_tokenizer"] = "a" * 64
    members["special_ids"] = {**members["special_ids"], "eos": 7}
    (folder / "tokenizer.lock").write_text(json.dumps(members, indent=2) + "\n")
    verify_fingerprint(compute_fingerprint(tokenizer), folder / "tokenizer.lock")


def corpus_of_other_documents(folder: Path) -> None:
    (folder / "texts.jsonl").write_text('{"text": "one two three"}\n')
    settings = CorpusSettings.model_validate({"sources": [{"name": "texts", "path": (folder / "texts.jsonl",)}]})
    build_corpus(settings, folder / "corpus")
    (folder / "texts.jsonl").write_text('{"text": "one two four"}\n')
    raise LazarusError(
        next(each.found for each in verify_corpus(folder / "corpus", settings) if not each.ok), "LP-E001"
    )


SITUATIONS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "build over a plan": (over_a_plan, ["`config.token_budget` was 64, is now 96"]),
    "build over a plan of other data": (over_a_plan_of_other_data, ["`data` was", "`lengths` was", "is now"]),
    "save over a plan": (save_over_a_plan, ["`config.seed` was 0, is now 5"]),
    "write over a lock": (over_a_lock, ["`config.token_budget` was 64, is now 96"]),
    "build a lock with other lengths": (lock_of_other_lengths, ["`template` was", "is now"]),
    "lengths with other parameters": (
        lambda folder: check(folder, encoding={"max_length": 32}),
        ["`max_length` was 64, is now 32"],
    ),
    "lengths with another template": (lambda folder: check(folder, template=OTHER), ["eeeeeeee -> 11111111"]),
    "lengths with other merges": (
        lambda folder: check(folder, tokenizer=OTHER, parts={"tokenizer": {**PARTS["tokenizer"], "merges": "bb"}}),
        ['merges changed: "aa" -> "bb"'],
    ),
    "lengths with other special ids": (
        lambda folder: check(
            folder, tokenizer=OTHER, parts={"tokenizer": {**PARTS["tokenizer"], "special_ids": {"eos": 3}}}
        ),
        ["'eos' 2 -> 3"],
    ),
    "rebase with another row length": (rebase_with_another_row_length, ["`row_len`", "from 32 to 64"]),
    "continue a run of episodes": (episodes, ["`model.temperature` was 0.5, is now 1.0"]),
    "compare a tokenizer with its lock": (another_tokenizer, ["pre_tokenizer changed: aaaaaaaa -> ", "eos 7 -> "]),
    "compare a corpus with its documents": (corpus_of_other_documents, [" in the manifest, ", " now"]),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_message_names_the_field_the_value_before_and_the_value_now(situation: str, tmp_path: Path):
    act, words = SITUATIONS[situation]
    with pytest.raises(LazarusError) as caught:
        act(tmp_path)
    for word in words:
        assert word in caught.value.message, caught.value.message


def test_a_length_cache_that_starts_over_says_what_differs(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    data, output = tmp_path / "data.jsonl", tmp_path / "lengths.jsonl"
    data.write_text('{"text": "one"}\n')
    partial = tmp_path / ".lengths.jsonl.partial"
    for first, words in (
        (
            b'{"lazarus_partial":2,"identity":{"files":[["data.jsonl",3]]}}\n',
            ["`files` was", '["data.jsonl", 3]', "is now"],
        ),
        (b'{"lazarus_partial":2,"identity":7}\n', ["cannot be read"]),
        (b'{"lazarus_partial":2,"ident', ["cannot be read"]),
    ):
        partial.write_bytes(first)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            build_lengths(data, Encoder(load_tokenizer("byte")), output)
        for word in [*words, "starting over"]:
            assert word in caplog.text
