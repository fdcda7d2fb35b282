"""From a trained run back to the documents of its corpus, and from a document to the steps that trained on it."""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lazarus_cli.main import app
from lazarus_core.errors import LazarusError
from lazarus_corpus import CorpusSettings, SourceSettings, build_corpus
from lazarus_corpus.settings import ContaminationSettings, SplitSettings
from lazarus_models import init_model, save
from lazarus_plan import PlanConfig, build_plan, load_plan, read_lengths, save_plan
from lazarus_plan.errors import CorruptPlan, StalePlan
from lazarus_tokenkit import Encoder, build_lengths, load_tokenizer
from lazarus_tokenkit.errors import SampleError
from lazarus_train import TrainConfig, train, verify_run
from lazarus_train.verify import Elsewhere

WORDS = [f"w{number}" for number in range(300)]
SHARD = "out/shards/train-00000.jsonl.gz"


def document(generator: random.Random) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(30))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources, their corpus, lengths of a shard, a plan, and a run of two steps."""
    folder = tmp_path_factory.mktemp("chain")
    generator = random.Random(0)
    for name in ("a", "b"):
        rows = [{"id": f"{name}{number}", "text": document(generator)} for number in range(20)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "sources.toml").write_text(
        "".join(f'[[sources]]\nname = "{name}"\npath = ["{name}.jsonl"]\n' for name in ("a", "b"))
    )
    sources = tuple(SourceSettings(name=name, path=(folder / f"{name}.jsonl",)) for name in ("a", "b"))
    build_corpus(CorpusSettings(sources=sources, split=SplitSettings(validation=0.2)), folder / "out")
    tokenizer = load_tokenizer("byte")
    build_lengths(folder / SHARD, Encoder(tokenizer), folder / "lengths.jsonl")
    save_plan(build_plan(read_lengths(folder / "lengths.jsonl"), PlanConfig(token_budget=2048)), folder / "plan")
    save(init_model("nano", tokenizer, seed=0), folder / "model")
    train(
        TrainConfig(
            model=folder / "model", data=folder / SHARD, batch_plan=folder / "plan", output=folder / "run", max_steps=2
        )
    )
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    return folder


def links(folder: Path, sources: tuple[str, ...] = ()) -> dict[str, str]:
    moved = Elsewhere(folder / "model", (folder / SHARD,), folder / "plan", tuple(folder / name for name in sources))
    return {link.name: link.how.value for link in verify_run(folder / "run", moved)}


def test_a_plan_binds_the_manifest_of_its_corpus(made: Path):
    files = load_plan(made / "plan").fingerprints["data"]["parts"][0]["files"]
    assert [(file["name"], file.get("role")) for file in files] == [
        ("train-00000.jsonl.gz", None),
        ("manifest.json", "manifest"),
    ]


def test_verify_walks_from_the_run_to_the_source_files(here: Path):
    assert links(here)["corpus"] == "recomputed" and links(here)["sources"] == "not proven"
    found = links(here, ("sources.toml",))
    assert found["source a"] == found["source b"] == "recomputed"


def edit_source(folder: Path) -> None:
    (folder / "b.jsonl").write_text((folder / "b.jsonl").read_text().replace("w1", "w2", 1))


def edit_shard(folder: Path) -> None:
    content = bytearray((folder / SHARD).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / SHARD).write_bytes(content)


def edit_other_shard(folder: Path) -> None:
    next((folder / "out/shards").glob("validation-*")).unlink()


def edit_manifest(folder: Path) -> None:
    path = folder / "out/manifest.json"
    path.write_text(path.read_text().replace('"weight": 1.0', '"weight": 2.0'))


def build_anew(folder: Path) -> None:
    """A whole corpus of other documents, with the same training shard in it."""
    shard = (folder / SHARD).read_bytes()
    source = SourceSettings(name="a", path=(folder / "a.jsonl",), license="other")
    build_corpus(CorpusSettings(sources=(source,)), folder / "out")
    (folder / SHARD).write_bytes(shard)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (edit_source, r"source b: other documents"),
        (edit_shard, r"shard train-00000\.jsonl\.gz: "),
        (edit_other_shard, r"shard validation-00000\.jsonl\.gz: .*missing"),
        (edit_manifest, r"manifest: .*its content does not have its digest"),
        (build_anew, r"shard train-00000\.jsonl\.gz: .*changed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_verify_names_the_broken_link(here: Path, edit: Callable[[Path], None], named: str):
    edit(here)
    with pytest.raises(StalePlan, match=named) as caught:
        links(here, ("sources.toml",))
    assert caught.value.code == "LR-E216" and caught.value.exit_code == 1


def test_another_manifest_over_the_same_shards_is_not_that_of_the_plan(here: Path):
    """The digest in a manifest proves nothing alone: the plan has the manifest's SHA-256."""
    path = here / "out/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    with pytest.raises(StalePlan, match=r"manifest: .* changed since the lengths were built"):
        links(here)


def test_sources_that_cannot_be_read_are_one_line(here: Path):
    (here / "bad.toml").write_text('[[sources]]\nname = "a"\npath = []\n')
    for name, says in (
        ("bad.toml", r"bad\.toml:1: `sources\.0\.path` must have at least 1 item"),
        ("a.jsonl", r"2 sources: give their SOURCES\.toml"),
    ):
        with pytest.raises(LazarusError, match=says) as caught:
            links(here, (name,))
        assert caught.value.exit_code == 2


def lengths(folder: Path) -> None:
    build_lengths(folder / SHARD, Encoder(load_tokenizer("byte")), folder / "again.jsonl")


def test_lengths_of_a_changed_shard_are_refused(here: Path):
    content = gzip.decompress((here / SHARD).read_bytes())
    (here / SHARD).write_bytes(gzip.compress(content, 1))
    lengths(here)  # compressed anew, equal content
    (here / SHARD).write_bytes(gzip.compress(content.replace(b"w1", b"w2", 1)))
    with pytest.raises(SampleError, match=r"train-00000\.jsonl\.gz: changed since") as caught:
        lengths(here)
    (here / "out/shards/more.jsonl.gz").write_bytes(gzip.compress(content))
    with pytest.raises(SampleError, match=r"more\.jsonl\.gz: a shard that"):
        build_lengths(here / "out/shards/more.jsonl.gz", Encoder(load_tokenizer("byte")), here / "again.jsonl")
    assert caught.value.code == "LT-E325"


def test_a_manifest_of_another_program_is_none(here: Path):
    for content in ("[]", "{", '{"format": "other", "shards": []}'):
        (here / "out/manifest.json").write_text(content)
        lengths(here)
        assert len(read_lengths(here / "again.jsonl").header.parts["data"]["files"]) == 1


def test_a_shard_away_from_its_corpus_is_named_as_not_checked(here: Path):
    shutil.move(here / SHARD, here / "moved.jsonl.gz")
    moved = Elsewhere(here / "model", (here / "moved.jsonl.gz",), here / "plan")
    assert {link.name: link.how.value for link in verify_run(here / "run", moved)}["corpus"] == "NOT checked"


def test_verify_as_a_user_runs_it(here: Path):
    words = ("verify", here / "run", "--model", here / "model", "--data", here / SHARD, "--batch-plan", here / "plan")
    done = CliRunner().invoke(app, [*map(str, words), "--sources", str(here / "sources.toml"), "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and {"corpus", "source a", "source b"} <= {each["link"] for each in found["links"]}


@pytest.fixture(scope="module")
def leaked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of 24 documents have an evaluation item; a run of two epochs, rows of 64 tokens, all but the last steps."""
    folder = tmp_path_factory.mktemp("leaked")
    generator = random.Random(1)
    items = [document(generator) for _ in range(5)]
    (folder / "test.jsonl").write_text("".join(json.dumps({"question": item}) + "\n" for item in items))
    rows = [{"id": f"d{number}", "text": document(generator), "source": "web"} for number in range(24)]
    for place, item in ((3, 2), (17, 4)):
        rows[place]["text"] = f"{document(generator)}\n{items[item].upper()}"
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = load_tokenizer("byte")
    build_lengths(folder / "docs.jsonl", Encoder(tokenizer), folder / "lengths.jsonl")
    config = PlanConfig(token_budget=512, row_len=64, epochs=2, oversize="split")
    save_plan(build_plan(read_lengths(folder / "lengths.jsonl"), config), folder / "plan")
    save(init_model("nano", tokenizer, seed=0), folder / "model")
    settings = {"model": folder / "model", "data": folder / "docs.jsonl", "batch_plan": folder / "plan"}
    train(TrainConfig(**settings, output=folder / "run", max_steps=len(load_plan(folder / "plan")) - 3))
    return folder


def exposed(folder: Path, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    done = CliRunner().invoke(app, ["data", "corpus", "contamination", "--run", str(folder / "run"), "--json", *words])
    *found, summary = map(json.loads, done.stdout.splitlines())
    return found, summary, done.exit_code


def test_the_steps_that_saw_a_contaminated_document_are_those_of_the_plan(leaked: Path):
    found, summary, code = exposed(leaked, "--against", str(leaked / "test.jsonl"))
    assert [(each["id"], each["source"], each["item"]) for each in found] == [
        ("d3", "web", "test.jsonl:3"),
        ("d17", "web", "test.jsonl:5"),
    ]
    plan = load_plan(leaked / "plan")
    for each, sample in zip(found, (3, 17), strict=True):
        expected = [
            {"step": index, "row": row.number, "tokens": list(segment.span or (0, segment.end - segment.start))}
            for index in range(len(plan) - 3)
            for row in plan.step(index).rows
            for segment in row.segments
            if segment.sample == sample
        ]
        assert len(expected) > 3 and sorted(each["seen"], key=str) == sorted(expected, key=str)
    steps = sorted({place["step"] for each in found for place in each["seen"]})
    assert summary["steps_with_one"] == steps and summary["seen"] == 2 and code == 1


def test_a_run_says_in_words_what_it_saw(leaked: Path):
    words = ["data", "corpus", "contamination", "--run", str(leaked / "run"), "--against", str(leaked / "test.jsonl")]
    done = CliRunner().invoke(app, words)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("d3 (") and "source web): test.jsonl:3, 100% of its n-grams" in lines[0]
    assert lines[1].startswith("  step ") and lines[-1].startswith("2 of 2 documents with an item were seen, in ")


def test_a_run_without_contaminated_documents_has_none(leaked: Path, tmp_path: Path):
    (tmp_path / "other.jsonl").write_text(json.dumps({"question": document(random.Random(99))}) + "\n")
    found, summary, code = exposed(leaked, "--against", str(tmp_path / "other.jsonl"))
    assert (found, summary["found"], code) == ([], 0, 0)


@pytest.mark.parametrize("has_others", [False, True])
def test_documents_that_the_build_flagged_are_found_in_the_run(leaked: Path, tmp_path: Path, has_others: bool):
    against = ContaminationSettings(against=(leaked / "test.jsonl",), action="flag")
    sources = [SourceSettings(name="web", path=(leaked / "docs.jsonl",))]
    if has_others:  # of equal ids, in the same source and in another one, without an item
        generator = random.Random(5)
        for name in ("more", "book"):
            rows = [{"id": f"d{number}", "text": document(generator)} for number in range(24)]
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources = [
            SourceSettings(name="web", path=(leaked / "docs.jsonl", tmp_path / "more.jsonl")),
            SourceSettings(name="book", path=(tmp_path / "book.jsonl",)),
        ]
    build_corpus(
        CorpusSettings(sources=tuple(sources), contamination=against, split=SplitSettings(validation=0)),
        tmp_path / "out",
    )
    build_lengths(tmp_path / SHARD, Encoder(load_tokenizer("byte")), tmp_path / "lengths.jsonl")
    save_plan(build_plan(read_lengths(tmp_path / "lengths.jsonl"), PlanConfig(token_budget=2048)), tmp_path / "plan")
    settings = {"model": leaked / "model", "data": tmp_path / SHARD, "batch_plan": tmp_path / "plan"}
    train(TrainConfig(**settings, output=tmp_path / "run", max_steps=1))
    found, summary, code = exposed(tmp_path)
    assert sorted(each["id"].partition("-")[0] for each in found) == ["d17", "d3"] and summary["steps"] == 1
    assert {each["source"] for each in found} == {"web"}
    assert code == bool(summary["seen"])


def test_data_of_another_run_are_refused(leaked: Path, tmp_path: Path):
    shutil.copytree(leaked, tmp_path / "copy")
    edited = tmp_path / "copy/docs.jsonl"
    edited.write_text(edited.read_text().replace("w1", "w2", 1))
    words = ["data", "corpus", "contamination", "--run", str(leaked / "run"), "--against", str(leaked / "test.jsonl")]
    done = CliRunner().invoke(app, [*words, "-d", str(edited)])
    assert isinstance(done.exception, StalePlan)
    log = tmp_path / "copy/run/audit.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([lines[0], lines[2], lines[1], *lines[3:]]))
    words[4] = str(tmp_path / "copy/run")
    assert isinstance(CliRunner().invoke(app, words).exception, CorruptPlan)
    for folder, says in ((tmp_path, "LD-E149"), (tmp_path / "nothing", "LD-E149")):
        words[4] = str(folder)
        error = CliRunner().invoke(app, words).exception
        assert isinstance(error, LazarusError) and error.code == says and error.exit_code == 2
