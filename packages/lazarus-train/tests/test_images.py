"""Training on images: hidden labels, images drawn at evaluations, and their log."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import suite
from digit_images import digits, write_idx
from image_learning import Made, learn, make_inputs, recognised
from lazarus_core.errors import LazarusError
from lazarus_models import load
from lazarus_models.backend import mx
from lazarus_plan.plan import Row, Segment
from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
from lazarus_tokenkit.images import ImageSettings, prepare_images
from lazarus_tokenkit.tokenizers import PixelFormat
from lazarus_train import CausalSettings, DiffusionSettings, TrainConfig, train, verify_run
from lazarus_train.data.batches import make_batch
from lazarus_train.data.dataset import Dataset, read_dataset
from lazarus_train.errors import SetupError
from lazarus_train.objectives.base import Bindings
from lazarus_train.objectives.causal import CausalObjective
from lazarus_train.objectives.diffusion import DiffusionObjective
from lazarus_train.objectives.label_dropout import LabelDropout
from lazarus_train.objectives.masking import masks_of
from lazarus_train.run_dir.image_log import image_line, image_section, read_images

PIXELS = PixelFormat(9, 7, levels=4, labels=10)
ROWS, LENGTH = 24, 65
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    prepare_images(write_idx(folder, *digits(ROWS)), folder / "rows.jsonl", ImageSettings(levels=4))
    return read_dataset(folder / "rows.jsonl", Encoder(load_tokenizer(PIXELS.name)), FieldNames())


def batch_of(data: Dataset, numbers: list[int], step_rows: int):
    """Rows of two images each, with their index in the step."""
    rows = [
        Row(tuple(Segment(2 * number + at, at * LENGTH, (at + 1) * LENGTH, None) for at in (0, 1)), number)
        for number in numbers
    ]
    return make_batch(rows, data, 2 * LENGTH, step_rows)


def test_labels_are_hidden_as_often_as_asked_and_nothing_else_changes(data: Dataset):
    batch = batch_of(data, list(range(12)), 12)
    before = np.array(batch.ids)
    hidden = []
    for seed in range(40):
        after = np.array(LabelDropout(0.3, PIXELS).apply(batch, seed).ids)
        changed = before != after
        assert set(np.flatnonzero(changed.any(axis=0)).tolist()) <= {1, LENGTH + 1}
        assert (after[changed] == PIXELS.no_label_id).all()
        hidden.append(changed.sum() / 24)
    assert np.mean(hidden) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 960))
    assert (np.array(LabelDropout(0.0, PIXELS).apply(batch, 1).ids) == before).all()


@settings(deadline=None, max_examples=suite.examples(20))
@given(seed=st.integers(0, 2**63 - 1), chosen=st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True))
def test_hidden_labels_do_not_depend_on_micro_batches(data: Dataset, seed: int, chosen: list[int]):
    dropout = LabelDropout(0.5, PIXELS)
    whole = np.array(dropout.apply(batch_of(data, list(range(12)), 12), seed).ids)
    part = np.array(dropout.apply(batch_of(data, chosen, 12), seed).ids)
    assert (part == whole[chosen]).all()


def bound(objective, data: Dataset):
    return objective.bind(Bindings(data, load_tokenizer(PIXELS.name)))


@settings(deadline=None, max_examples=suite.examples(20))
@given(seed=st.integers(0, 2**63 - 1))
def test_bos_and_labels_are_never_masked(data: Dataset, seed: int):
    objective = bound(DiffusionObjective(DiffusionSettings(mask_id=PIXELS.mask_id, label_dropout=0.5)), data)
    prepared = objective.prepare(batch_of(data, [0, 1, 2], 3), seed)
    noised = masks_of(prepared)
    labels = np.array([0, 1, LENGTH, LENGTH + 1])
    assert not np.array(noised.is_masked)[:, labels].any()
    ids = np.array(noised.ids)
    assert (ids[:, labels[::2]] == PIXELS.bos_id).all()
    assert (np.isin(ids[:, labels[1::2]], [*PIXELS.label_ids, PIXELS.no_label_id])).all()
    # The targets are the pixels of the data, whatever was hidden.
    assert (np.array(prepared.ids)[:, 2:LENGTH] == np.array(batch_of(data, [0, 1, 2], 3).ids)[:, 2:LENGTH]).all()


def test_next_token_training_hides_labels_too(data: Dataset):
    objective = bound(CausalObjective(CausalSettings(label_dropout=0.5)), data)
    batch = batch_of(data, [0, 1, 2, 3], 4)
    prepared = objective.prepare(batch, 3)
    assert (np.array(prepared.ids) == np.array(LabelDropout(0.5, PIXELS).apply(batch, 3).ids)).all()
    assert (np.array(prepared.is_label) == np.array(batch.is_label)).all()
    plain = bound(CausalObjective(CausalSettings()), data)
    assert plain.prepare(batch, 3) is batch


def test_held_out_losses_see_every_label(data: Dataset):
    seen = []

    class Model:
        def __call__(self, ids: mx.array, cache=None) -> mx.array:
            seen.append(np.array(ids))
            return mx.zeros((*ids.shape, 18))

        config = type("Config", (), {"supports_packing": True})()
        layers = ()

    objective = bound(DiffusionObjective(DiffusionSettings(mask_id=PIXELS.mask_id, label_dropout=0.9, draws=2)), data)
    batch = batch_of(data, [0, 1], 2)
    objective.measure(Model(), batch, 0)
    assert all((ids[:, 1] == np.array(batch.ids)[:, 1]).all() for ids in seen) and len(seen) == 2


def test_data_of_other_kinds_are_refused(data: Dataset, tmp_path: Path):
    byte = load_tokenizer("byte")
    with pytest.raises(SetupError, match="`label_dropout` is for images: `byte` is not") as error:
        LabelDropout.of(0.1, data, byte)
    assert error.value.code == "LR-E300"
    assert LabelDropout.of(None, data, byte) is None
    (tmp_path / "rows.jsonl").write_text(json.dumps({"input_ids": [16, 5, *[0] * 63]}) + "\n")
    bare = read_dataset(tmp_path / "rows.jsonl", Encoder(load_tokenizer(PIXELS.name)), FieldNames())
    with pytest.raises(SetupError, match="labels carry loss") as error:
        LabelDropout.of(0.1, bare, load_tokenizer(PIXELS.name))
    assert error.value.code == "LR-E300"
    with pytest.raises(
        SetupError, match="`mask_id` 3 is not the mask of the tokenizer `pixels:9x7:4:10`: give 15"
    ) as error:
        bound(DiffusionObjective(DiffusionSettings(mask_id=3)), data)
    assert error.value.code == "LR-E301"


def test_settings_that_draw_no_images_are_refused():
    given = {"model": Path("m"), "data": Path("d"), "batch_plan": Path("p"), "output": Path("o"), "sample_images": 1}
    assert TrainConfig(objective=CausalSettings(), **given, eval_every=2).sample_images == 1
    with pytest.raises(ValidationError, match="`sample_images` needs a model that draws images; `objective` reward"):
        TrainConfig(objective={"kind": "reward"}, **given)
    for share in (-0.1, 1.0):
        with pytest.raises(ValidationError):
            CausalSettings(label_dropout=share)


def test_the_log_gives_its_images_back(tmp_path: Path):
    path = tmp_path / "images.jsonl"
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 4)).astype(np.uint8)
    lines = [json.dumps(image_line(step, images[:: 1 - step % 2 * 2], [0, 1, None], 2)) for step in range(30)]
    path.write_text("\n".join([*lines, '{"step":30,"pixels":"!"}', '{"step":31}', lines[0][:20]]) + "\n")
    found = list(read_images(path))
    assert [each.step for each in found] == list(range(30))
    assert (found[0].images == images).all() and (found[1].images == images[::-1]).all() and found[0].columns == 2
    page = image_section(path, "run <a>")
    assert page.count("<svg") == 8 and "run &lt;a&gt;" in page
    assert "after 0 steps" in page and "after 29 steps" in page
    assert image_section(tmp_path / "absent.jsonl", "run") == ""


def test_strokes_draw_every_pixel(tmp_path: Path):
    import re

    images = np.random.default_rng(1).integers(0, 3, (2, 5, 6)).astype(np.uint8) * 100
    (tmp_path / "images.jsonl").write_text(json.dumps(image_line(0, images, [0, 1], 2)) + "\n")
    page = image_section(tmp_path / "images.jsonl", "run")
    height, width = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', page).groups()[::-1])
    drawn = np.full((height, width), -1)
    for grey, path in re.findall(r'stroke="#(..)\1\1" d="([^"]*)"', page):
        for left, row, length in re.findall(r"M(\d+) (\d+)\.5h(\d+)", path):
            assert (drawn[int(row), int(left) : int(left) + int(length)] == -1).all()
            drawn[int(row), int(left) : int(left) + int(length)] = int(grey, 16)
    assert (drawn[1:6, 1:7] == images[0]).all() and (drawn[1:6, 8:14] == images[1]).all()
    assert (drawn >= 0).all()


# Runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_inputs(tmp_path_factory.mktemp("made"), count=64, shape=SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["diffusion", "next-token"])
def test_a_resumed_run_draws_the_same_images(made: Made, tmp_path: Path, method: str):
    more = {"save_every": 2, "eval_every": 2, "sample_images": 1}
    for name, steps in (("whole", 4), ("parts", 2)):
        learn(made, tmp_path / name, method, steps, rows=4, **more)
    config = TrainConfig.model_validate(json.loads((tmp_path / "whole" / "config.json").read_text())["config"])
    train(config.model_copy(update={"output": tmp_path / "parts"}), resume="auto")
    whole, parts = (tmp_path / name / "images.jsonl" for name in ("whole", "parts"))
    assert [each.step for each in read_images(whole)] == [0, 2, 4]
    assert [len(each.images) for each in read_images(whole)] == [10, 10, 10]
    assert whole.read_bytes() == parts.read_bytes()
    assert all(link.how.value != "NOT checked" for link in verify_run(tmp_path / "whole"))
    whole.write_text(whole.read_text().replace("A", "B", 1))
    with pytest.raises(LazarusError) as error:
        list(verify_run(tmp_path / "whole"))
    assert error.value.code == "LR-E208"


def test_a_run_that_cannot_draw_is_refused(made: Made, tmp_path: Path):
    with pytest.raises(SetupError, match=r"`sample_images` 101 of each label are 1,010 images: give fewer") as error:
        learn(made, tmp_path / "run", "diffusion", 1, rows=4, sample_images=101)
    assert error.value.code == "LR-E302"


@pytest.mark.slow
@pytest.mark.skipif(not suite.is_thorough(), reason="trains for a minute: in a thorough run")
@pytest.mark.parametrize("method", ["diffusion", "next-token"])
def test_a_small_model_learns_to_draw_the_digit_that_is_asked_for(tmp_path: Path, method: str):
    made = make_inputs(tmp_path)
    before = recognised(load(made.model), method)
    lm = load(learn(made, tmp_path / "run", method, 500))
    assert before < 0.25
    assert recognised(lm, method, guidance_scale=2.0) > 0.9
    assert recognised(lm, method, guidance_scale=0.0) < 0.25
