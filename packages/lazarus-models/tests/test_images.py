"""Images drawn by a model of image tokens."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from lazarus_core.errors import OutputTaken
from lazarus_models import LoadedModel, init_model, save
from lazarus_models.backend import mx
from lazarus_models.cli.app import app
from lazarus_models.cli.imaging import parse_labels
from lazarus_models.errors import GenerationError
from lazarus_models.families import canonical
from lazarus_models.generation import DiffusionConfig, ImageConfig, draw_images
from lazarus_models.generation.diffusion import diffuse_rows
from lazarus_tokenkit import load_tokenizer
from lazarus_tokenkit.errors import SampleError, TokenizerError
from lazarus_tokenkit.images import dequantise, image_grid, png_bytes
from lazarus_tokenkit.tokenizers import PixelFormat, pixel_tokenizer
from suite import examples

PIXELS = PixelFormat(2, 3, levels=4, labels=3)
MASK = PIXELS.mask_id
METHODS = ("diffusion", "next-token")


@pytest.fixture(scope="module")
def lm() -> LoadedModel:
    said = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 1}
    said |= {"num_attention_heads": 2, "initializer_range": 0.6}  # large weights: labels and pixels matter
    return init_model(canonical(said, "images"), pixel_tokenizer(PIXELS), seed=0)


@settings(deadline=None, max_examples=examples(20))
@given(
    method=st.sampled_from(METHODS),
    labels=st.lists(st.sampled_from([None, 0, 1, 2]), min_size=1, max_size=3),
    scale=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    temperature=st.sampled_from([0.0, 1.0]),
    steps=st.sampled_from([None, 1, 4, 50]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_same_seed_gives_the_same_images_of_levels(lm, method, labels, scale, temperature, steps, seed):
    config = ImageConfig(method=method, guidance_scale=scale, temperature=temperature, steps=steps, seed=seed)
    images = draw_images(lm, labels, config)
    assert images.shape == (len(labels), 2, 3) and images.dtype == np.uint8
    assert np.isin(images, dequantise(np.arange(4), 4)).all()
    assert (draw_images(lm, labels, config) == images).all()


@pytest.mark.parametrize("method", METHODS)
def test_scale_0_ignores_the_label_and_scale_1_is_the_plain_model(lm: LoadedModel, method: str):
    labels, none = [0, 1, 2] * 4, [None] * 12

    def drawn(labels, scale):
        return draw_images(lm, labels, ImageConfig(method=method, guidance_scale=scale, seed=5)).tolist()

    unconditional, plain = drawn(none, 1.0), drawn(labels, 1.0)
    assert drawn(labels, 0.0) == drawn(none, 0.0) == unconditional
    assert plain != unconditional
    # Without a label both parts of the guidance are the same, so the scale has no effect (up to rounding).
    assert np.mean(np.array(drawn(none, 3.0)) != np.array(unconditional)) < 0.05
    assert drawn(labels, 3.0) != plain


@settings(deadline=None, max_examples=examples(20))
@given(scale=st.floats(0, 8), seed=st.integers(0, 99))
def test_guidance_mixes_the_logits(scale: float, seed: int):
    generator = np.random.default_rng(seed)
    tables = mx.array(generator.normal(size=(2, 10)).astype(np.float32))
    asked = []

    def model(ids, cache=None):
        # The second token is a label (5) or none (7); every place has the logits of that row.
        asked.append(np.array(ids)[:, :2].tolist())
        rows = mx.take(tables, (ids[:, 1] == 7).astype(mx.int32), axis=0)
        return mx.broadcast_to(rows[:, None], (*ids.shape, 10))

    config = DiffusionConfig(mask_id=8, length=3, block=3, steps=1, causal=True)
    found = diffuse_rows(
        model, [[9, 5]], config, lambda step: [mx.random.key(0)], unguided=[[9, 7]], scale=scale, vocabulary=4
    )
    mixed = np.array(tables[1]) + scale * (np.array(tables[0]) - np.array(tables[1]))
    best = np.sort(mixed[:4])
    if best[-1] - best[-2] > 1e-3:
        assert found == [[int(mixed[:4].argmax())] * 3]
    assert asked == [[[9, 5], [9, 7]]]


@pytest.mark.parametrize("method", METHODS)
def test_an_image_depends_on_its_number_and_not_on_the_others(lm: LoadedModel, method: str, monkeypatch):
    import lazarus_models.generation.image_sampling as sampling

    config = ImageConfig(method=method, seed=3)
    together = draw_images(lm, [0, 1, 2, 0, 1], config)
    monkeypatch.setattr(sampling, "_MAX_ROWS", 2)
    assert (draw_images(lm, [0, 1, 2, 0, 1], config) == together).all()
    assert (draw_images(lm, [0, 1], config) == together[:2]).all()


def test_next_tokens_are_those_of_the_uncached_model(lm: LoadedModel):
    image = draw_images(lm, [2], ImageConfig(method="next-token", temperature=0.0))[0]
    ids = [PIXELS.bos_id, PIXELS.label_ids[2]]
    for _ in range(PIXELS.pixels):
        ids.append(int(mx.argmax(lm.model(mx.array([ids]))[0, -1, : PIXELS.levels])))
    assert (image == dequantise(np.array(ids[2:]), 4).reshape(2, 3)).all()


def test_draws_follow_the_models_probabilities():
    """A model whose pixels are independent: the share of each level is its probability, by either method."""
    logits = mx.array([0.0, 1.0, 2.0, -1.0, *[9.0] * 7])

    class Model:
        config = SimpleNamespace(supports_packing=True, vocab_size=99)
        layers = ()

        def make_cache(self):
            return None

        def __call__(self, ids, cache=None):
            return mx.broadcast_to(logits, (*ids.shape, 11))

    lm = SimpleNamespace(model=Model(), tokenizer=load_tokenizer("pixels:20x20:4:1"))
    lm.config = SimpleNamespace(max_position_embeddings=None, vocab_size=99)
    expected = np.exp([0.0, 1.0, 2.0, -1.0]) / np.exp([0.0, 1.0, 2.0, -1.0]).sum()
    for method in METHODS:
        images = draw_images(lm, [0] * 20, ImageConfig(method=method, steps=2, seed=1))  # type: ignore[arg-type]
        shares = [(images == grey).mean() for grey in dequantise(np.arange(4), 4)]
        assert shares == pytest.approx(expected, abs=0.02)


def test_what_cannot_be_drawn_is_refused(lm: LoadedModel):
    short = replace(lm, config=lm.config.model_copy(update={"max_position_embeddings": 7}))
    with pytest.raises(GenerationError, match="an image has 8 tokens, but the model's context is 7") as error:
        draw_images(short, [0])
    assert error.value.code == "LM-E550"
    for labels in ([], [0] * (2**16 + 1)):
        with pytest.raises(GenerationError, match="give 1 to 65,536") as error:
            draw_images(lm, labels)
        assert error.value.code == "LM-E551"
    with pytest.raises(SampleError, match="the label 3 is not one of the 3 labels"):
        draw_images(lm, [3])
    with pytest.raises(TokenizerError, match="`byte` is not a tokenizer of images"):
        draw_images(init_model("nano", load_tokenizer("byte"), seed=0), [0])
    for wrong in ({"guidance_scale": -1}, {"temperature": float("nan")}, {"steps": 0}, {"seed": 2**32}):
        with pytest.raises(ValidationError):
            ImageConfig(**wrong)


# Command


@pytest.fixture(scope="module")
def folder(lm: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model"
    save(lm, path)
    return path


def command(*words: object, code: int = 0):
    done = CliRunner().invoke(app, ["images", *map(str, words)])
    assert done.exit_code == code or (code == 2 and done.exception is not None), done.output
    return done


def test_the_command_draws_a_grid(lm: LoadedModel, folder: Path, tmp_path: Path):
    output = tmp_path / "grid.png"
    words = ("-m", folder, "--labels", "2,0", "--grid", "3x2", "--seed", 4, "--zoom", 1, "-o", output)
    found = json.loads(command(*words, "--json").stdout)
    assert (found["rows"], found["columns"], found["labels"]) == (3, 2, [2, 2, 0, 0, 2, 2])
    expected = draw_images(lm, [2, 2, 0, 0, 2, 2], ImageConfig(seed=4))
    content = png_bytes(image_grid(list(expected), 2))
    assert output.read_bytes() == content
    assert command(*words).stdout == f"{output}\n" and output.read_bytes() == content
    found = json.loads(command("-m", folder, "--method", "next-token", "-o", output, "--json").stdout)
    assert (found["rows"], found["columns"]) == (3, 8) and found["labels"][::8] == [0, 1, 2]


def test_lists_of_labels():
    assert parse_labels("0-2, 7,-,1") == [0, 1, 2, 7, None, 1]
    for text, words in (("", "give numbers"), ("a", "give numbers"), ("3-1", "give 1-3"), ("0-99999", "give fewer")):
        with pytest.raises(GenerationError, match=words) as error:
            parse_labels(text)
        assert error.value.code == "LM-E551"


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--grid", "3"], "give ROWSxCOLUMNS"), (["--grid", "0x2"], "give ROWSxCOLUMNS"),
     (["--grid", "9999x9999"], "give 1 to 65,536"), (["--labels", "3"], "the label 3 is not one of the 3"),
     (["--grid", "600x100", "--zoom", "64"], "the grid has"),
     (["--method", "next-token", "--steps", "3"], "have no effect with `--method next-token`")],
)  # fmt: skip
def test_wrong_options_are_refused(folder: Path, tmp_path: Path, words: list[str], message: str):
    done = command("-m", folder, "-o", tmp_path / "grid.png", *words, code=2)
    assert message in str(done.exception), done.output
    assert not (tmp_path / "grid.png").exists()


def test_a_file_of_others_is_kept(folder: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    done = command("-m", folder, "-o", tmp_path / "notes.txt", code=2)
    assert isinstance(done.exception, OutputTaken) and (tmp_path / "notes.txt").read_text() == "mine"
    command("-m", folder, "-o", tmp_path / "notes.txt", "--force", "--grid", "1x1")
