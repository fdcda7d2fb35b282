"""QLoRA end to end: a model that lazarus-models quantized, adapters that learn on it, and what comes of them."""

import hashlib
import json

import pytest
from typer.testing import CliRunner

import lazarus_models
import lazarus_models.tensor_files
from lazarus_models.backend import mx
from lazarus_models.cli.app import app as models_app
from lazarus_train import LoraConfig, train
from lazarus_train.engine.state import ADAPTERS
from lazarus_train.errors import Interrupted, SetupError

LORA = LoraConfig(rank=4, dropout=0.1)


@pytest.fixture
def quantized(setup):
    """The folder's model in 4 bits, in the place of the one in 32."""
    options = ["--model", setup.model, "-o", setup.folder / "quantized", "--bits", 4, "--group-size", 32]
    assert CliRunner().invoke(models_app, ["convert", *map(str, options)]).exit_code == 0
    setup.model.rename(setup.folder / "full")
    (setup.folder / "quantized").rename(setup.model)
    return setup


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def logits(model):
    model.eval()
    return model(mx.arange(20)[None])


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_merged_model_is_what_was_trained_and_the_base_is_untouched(quantized, kind):
    before = digests(quantized.model)
    config = quantized.config(lora=LORA.model_copy(update={"kind": kind}), eval_data={"held-out": quantized.data})
    train(config)
    assert digests(quantized.model) == before
    final = quantized.folder / "run" / "final"
    base, merged = lazarus_models.load(quantized.model), lazarus_models.load(final)
    untrained = logits(base.model)
    lazarus_models.load_adapter(base.model, final / ADAPTERS)
    assert mx.abs(logits(base.model) - logits(merged.model)).max().item() < 1e-5
    assert mx.abs(logits(base.model) - untrained).max().item() > 0.1
    stored = lazarus_models.tensor_files.load_tensors(final / "model.safetensors")
    assert stored["model.embed_tokens.weight"].dtype == mx.uint32, "what was not adapted stays quantized"
    lines = [json.loads(line) for line in (quantized.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["eval_loss"] for line in lines if "eval_loss" in line]
    assert losses[-1] < losses[0]


def test_stopped_and_resumed_the_run_is_the_same_bits(quantized, stop_after):
    train(quantized.config("straight", lora=LORA))
    with pytest.raises(Interrupted):
        train(quantized.config("stopped", lora=LORA), watcher=stop_after(3))
    train(quantized.config("stopped", lora=LORA))
    assert quantized.fingerprints("stopped") == quantized.fingerprints("straight")
    assert f"final/{ADAPTERS}/adapters.safetensors" in quantized.fingerprints("straight")


@pytest.mark.parametrize("objective", ["reward", "classification", "regression"])
def test_scores_of_a_quantized_model_are_learnt_resumed_merged_and_gone_on_from(quantized, stop_after, objective):
    rows = {
        "reward": [{"prompt": f"{a}?", "chosen": f"{a}.", "rejected": f"{a} and 1."} for a in range(8)],
        "classification": [{"prompt": f"{a}?", "completion": "yes" if a > 4 else "no"} for a in range(8)],
        "regression": [{"prompt": f"{a}?", "completion": str(a)} for a in range(8)],
    }
    quantized.write_rows(rows[objective])
    quantized.build_plan(token_budget=128, row_len=64)
    settings = {"lora": LORA, "objective": {"kind": objective}, "max_steps": 3}
    train(quantized.config("straight", **settings))
    with pytest.raises(Interrupted):
        train(quantized.config("stopped", **settings), watcher=stop_after(1))
    train(quantized.config("stopped", **settings))
    assert quantized.fingerprints("stopped") == quantized.fingerprints("straight")
    final = quantized.folder / "straight" / "final"
    stored = lazarus_models.tensor_files.load_tensors(final / "model.safetensors")
    assert stored["model.embed_tokens.weight"].dtype == mx.uint32
    assert stored["score.weight"].dtype == mx.float32
    further = quantized.config("further", **settings | {"max_steps": 1}).model_copy(update={"model": final})
    train(further)
    last = [json.loads(line)["loss"] for line in (quantized.folder / "straight/metrics.jsonl").read_text().splitlines()]
    first = json.loads((quantized.folder / "further/metrics.jsonl").read_text().splitlines()[0])["loss"]
    assert abs(first - last[0]) > 1e-6, "what was learnt is there"


def test_noise_on_packed_embeddings_changes_what_is_learnt_and_not_what_is_merged(quantized):
    for name, alpha in (("plain", None), ("noisy", 5.0), ("again", 5.0)):
        train(quantized.config(name, lora=LoraConfig(rank=4), max_steps=2, neftune_alpha=alpha))
    plain, noisy, again = map(quantized.fingerprints, ("plain", "noisy", "again"))
    assert noisy == again != plain
    stored = [
        lazarus_models.tensor_files.load_tensors(quantized.folder / f"{name}/final/model.safetensors")
        for name in ("plain", "noisy")
    ]
    embeddings = [each["model.embed_tokens.weight"] for each in stored]
    assert embeddings[0].dtype == mx.uint32
    assert mx.array_equal(*embeddings)


@pytest.mark.slow
def test_the_merged_model_opens_in_mlx_lm_unchanged(quantized):
    from mlx_lm import load

    train(quantized.config(lora=LORA, max_steps=2))
    final = quantized.folder / "run" / "final"
    theirs, _ = load(str(final))
    assert mx.array_equal(logits(theirs), logits(lazarus_models.load(final).model))


def test_all_weights_of_a_quantized_model_cannot_be_trained(quantized):
    with pytest.raises(
        SetupError, match=r"is quantized, and quantized weights cannot be trained\. Set `lora` to train"
    ):
        train(quantized.config())
    assert not (quantized.folder / "run" / "config.json").exists()
