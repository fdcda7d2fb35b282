"""Tiny and real: a BPE trained here, a model of a few thousand parameters, two dozen questions."""

import dataclasses
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

import suite
from suite import FAMILIES, KINDS_OF_FAMILIES, thinned

QUESTIONS = [(f"What is {a} and {b}?", f"{a} and {b} make {a + b}.") for a in range(6) for b in range(4)]


@dataclass(frozen=True)
class Setup:
    """A model, data and a plan in a folder."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data.jsonl"

    @property
    def plan(self) -> Path:
        return self.folder / "plan"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def config(self, output="run", **settings):
        from lazarus_train import OptimizerSettings, TrainConfig

        return TrainConfig(
            model=self.model,
            data=self.data,
            batch_plan=self.plan,
            output=self.folder / output,
            **{"optimizer": OptimizerSettings(learning_rate=5e-3), "save_every": 2, **settings},
        )

    def write_rows(self, rows) -> None:
        self.data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def build_plan(self, template=None, fields=None, **settings):
        """Measures the data as it is now and plans it."""
        from lazarus_plan import PlanConfig, build_plan, save_plan
        from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
        from lazarus_train.data.dataset import read_dataset

        encoder = Encoder(load_tokenizer(str(self.model)), template=template)
        lengths = read_dataset(self.data, encoder, fields or FieldNames()).lengths
        save_plan(
            build_plan(lengths, PlanConfig(**{"token_budget": 64, "row_len": 32, "epochs": 2, **settings})), self.plan
        )
        return lengths

    def steps(self, run: str) -> list[tuple[int, str, str]]:
        """What the audit log of a run says of every step: the same however often it was stopped, and on every machine."""
        lines = map(json.loads, (self.folder / run / "audit.jsonl").read_text().splitlines()[1:])
        return [(line["step"], line["leaf"], line["rows"]) for line in lines if "bind" not in line]

    def fingerprints(self, run: str) -> dict[str, object]:
        """SHA-256 of everything in a run's folder that data and weights decide, and the steps of the audit log."""
        folder = self.folder / run
        last = sorted((folder / "checkpoints").glob("step-*"))[-1]
        tensors = [*(folder / "final").rglob("*.safetensors"), *last.glob("*.safetensors")]
        files = [*tensors, folder / "metrics.jsonl"]
        assert folder / "final" / "model.safetensors" in files, "a run that ended"
        digests = {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        return {**digests, "steps": self.steps(run)}

    def audit(self, run: str) -> bytes:
        """The audit log, to the byte: that of a run that was killed is that of one that was not."""
        return (self.folder / run / "audit.jsonl").read_bytes()


def train_bpe(folder: Path) -> None:
    """A byte-level BPE of 300 pieces with an end of text, as `tokenizer.json`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{question}\n{answer}" for question, answer in QUESTIONS] * 5, trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real inputs, described in the data folder's README."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("LAZARUS_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: set LAZARUS_TEST_DATA, or put the folder at {beside}")
    return folder


@pytest.fixture(scope="session")
def fresh_model(tmp_path_factory):
    """A model directory: one layer, 300 pieces."""
    import lazarus_models
    import lazarus_models.composition
    from lazarus_tokenkit import load_tokenizer

    folder = tmp_path_factory.mktemp("model")
    train_bpe(folder / "tokenizer")
    tokenizer = load_tokenizer(str(folder / "tokenizer"))
    shape = lazarus_models.composition.preset("nano", vocab_size=tokenizer.vocab_size)
    lm = lazarus_models.init_model(shape.model_copy(update={"num_hidden_layers": 1}), tokenizer, seed=0, vocab_size=300)
    lazarus_models.save(lm, folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def make_setup(fresh_model, tmp_path_factory):
    """Fills a folder: 24 questions with answers, a tokenizer, a fresh model, a plan of two epochs."""
    made = Setup(tmp_path_factory.mktemp("setup"))
    made.write_rows([{"prompt": question, "completion": answer} for question, answer in QUESTIONS])
    shutil.copytree(fresh_model, made.model)
    made.build_plan()

    def make(folder: Path) -> Setup:
        shutil.copytree(made.folder, folder, dirs_exist_ok=True)
        return Setup(folder)

    return make


@pytest.fixture
def setup(tmp_path, make_setup):
    """A folder of its own with everything that a run needs."""
    return make_setup(tmp_path)


@pytest.fixture
def lora_settings():
    from lazarus_train import LoraConfig

    return LoraConfig(rank=4, alpha=8.0, dropout=0.1)


@pytest.fixture
def stop_after():
    """Makes a watcher that stops a run after a step."""
    from lazarus_train import Watcher

    def make(step: int) -> Watcher:
        seen: list[int] = []
        return Watcher(on_step=lambda report: seen.append(report.step), should_stop=lambda: seen[-1:] == [step])

    return make


@pytest.fixture(params=thinned(FAMILIES, KINDS_OF_FAMILIES))
def family(request, real_data) -> Path:
    """A small trained model of each family."""
    return real_data / "models/families" / request.param


@pytest.fixture
def as_gpu(monkeypatch):
    """A CPU that takes itself for a GPU, with gradients in a fixed order; returns what says whether graphs are compiled."""
    from lazarus_models.backend import mx
    from lazarus_models.components import SegmentCache
    from lazarus_models.ops import set_gradient_order
    from lazarus_train.devices import device_policy
    from lazarus_train.engine import optim, state, trainer
    from lazarus_train.engine import setup as run_setup
    from lazarus_train.layers import gradient_checkpointing
    from lazarus_train.objectives import forward

    if shutil.which("g++") is None:
        pytest.skip("without g++ MLX compiles nothing on a CPU")

    def set_up(compiles):
        policy = dataclasses.replace(device_policy(), labels_only=False, is_lean=False, threads=1, compiles=compiles)
        for module in (forward, state, optim, run_setup, gradient_checkpointing):
            monkeypatch.setattr(module, "device_policy", lambda *given: policy)
        monkeypatch.setattr(trainer, "prepare_device", lambda *given: policy)
        set_gradient_order("fixed")
        monkeypatch.setattr(SegmentCache, "runs", None)

    with suite.alone("mlx-kernels"):  # MLX writes compiled kernels into one folder for all processes
        mx.enable_compile()
        yield set_up
        if "MLX_DISABLE_COMPILE" in os.environ:
            mx.disable_compile()
        set_gradient_order(None)
