"""From images to a trained model, and from the model back to the images."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from digit_images import digits, write_idx
from lazarus_cli.main import app
from lazarus_plan import load_plan
from lazarus_plan.errors import StalePlan
from lazarus_tokenkit.images import prepare_images
from lazarus_train import verify_run
from lazarus_train.verify import Elsewhere

NAME = "train-images-idx3-ubyte"


def lazarus(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image files, rows, lengths, plan, model and a run of two steps, all made by commands."""
    folder = tmp_path_factory.mktemp("images")
    write_idx(folder, *digits(24))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = json.loads(lazarus("data", "images", "prepare", NAME, "--levels", 4, "-o", "rows.jsonl", "--json"))
        lazarus("data", "lengths", "build", "-d", "rows.jsonl", "-t", found["tokenizer"], "-o", "lengths.jsonl")
        lazarus("data", "batchplan", "build", "-l", "lengths.jsonl", "--row-len", 65, "-b", 65 * 8, "-o", "plan")
        lazarus("model", "new", "--preset", "nano", "-t", found["tokenizer"], "-o", "model")
        train = ["--model", "model", "--data", "rows.jsonl", "--batch-plan", "plan", "--max-steps", 2]
        lazarus(
            "train", "objective", "diffusion", "--set", f"objective.mask_id={found['mask_id']}", *train, "-o", "run"
        )
        lazarus("train", "pretrain", *train, "-o", "causal")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def links(folder: Path, *sources: Path) -> dict[str, str]:
    moved = Elsewhere(folder / "model", (folder / "rows.jsonl",), folder / "plan", sources)
    return {link.name: link.how.value for link in verify_run(folder / "run", moved)}


def test_a_plan_binds_the_manifest_of_the_images(made: Path):
    files = load_plan(made / "plan").fingerprints["data"]["parts"][0]["files"]
    assert [(file["name"], file.get("role")) for file in files] == [
        ("rows.jsonl", None),
        ("rows.jsonl.images.json", "manifest"),
    ]


def test_only_pixels_carry_loss(made: Path):
    for run, tokens in (("run", 63), ("causal", 63)):
        lines = [json.loads(line) for line in (made / run / "metrics.jsonl").read_text().splitlines()]
        assert [line["loss_tokens"] for line in lines] == [8 * tokens, 8 * tokens]


def test_verify_walks_from_the_run_to_the_image_files(here: Path):
    assert links(here) | {"images": "recomputed", "image files": "not proven"} == links(here)
    assert links(here, here / NAME)["image files"] == "recomputed"


def test_another_image_ends_the_walk(here: Path):
    content = bytearray((here / NAME).read_bytes())
    content[16] ^= 255
    (here / NAME).write_bytes(content)
    with pytest.raises(StalePlan, match="image 1 of") as error:
        links(here, here / NAME)
    assert error.value.code == "LR-E216"


def test_another_manifest_ends_the_walk(here: Path):
    rows = here / "rows.jsonl"
    kept = rows.read_bytes()
    shutil.copy(here / NAME, here / "other-images-idx3-ubyte")
    prepare_images(here / "other-images-idx3-ubyte", rows, force=True)
    rows.write_bytes(kept)
    with pytest.raises(StalePlan) as error:
        links(here)
    assert error.value.code == "LR-E216"
