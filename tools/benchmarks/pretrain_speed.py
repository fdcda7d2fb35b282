"""Dense pre-training: a step of ours against mlx_lm.lora's own and PyTorch's, on the same shape, in one run.

    uv run python tools/benchmarks/pretrain_speed.py [--shape 6M|135M] [--torch-python PATH] [--rounds 3] [--steps 4] [--threads 2]

A Llama with fresh weights in float32 on full rows of random tokens: 8 x 512 for 6.5 million parameters, 4 x 256 for 135
million. Sides take turns, A B C A B C .., each in a process of its own whose first step is left out; the ratio is taken round
by round. All use OpenBLAS's AVX-512 kernels where the machine has them, two cores, and what memory they like, whose peak is
told. Tokens a second of CPU time tell more than tokens a second where the machine is busy; there `--threads 1` is the fair way, for
threads of a matrix product that wait for each other take CPU time too. PyTorch needs a Python with torch and transformers:
`--torch-python`.

Ours is what `lazarus train pretrain` does: batches from a plan, lean layers, the threads of the device's policy, clipping, AdamW. mlx-lm's is `mlx_lm.tuner`'s own
trainer. PyTorch's is transformers' model with its loss, AdamW and clipping.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SHAPES = {
    "6M": (8, 512, {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 3, "num_attention_heads": 8}),
    "135M": (
        4,
        256,
        {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9},
    ),
}
VOCABULARY = {"6M": 8192, "135M": 49152}
KEY_VALUE_HEADS = {"6M": 8, "135M": 3}
WEIGHT_BYTES = {"6M": 26_000_000, "135M": 538_000_000}
IS_TIED = {"6M": False, "135M": True}

OURS = """
import json, resource, sys, time
import numpy as np
from pathlib import Path
from lazarus_train.devices import prepare_device
weight_bytes = int(sys.argv[5])
policy = prepare_device(weight_bytes)
from lazarus_models import read_config
from lazarus_models.trees import set_weights
from lazarus_models.families import family_of
from lazarus_models.composition import initial_weights
from lazarus_plan import LengthCache, LengthRow, PlanConfig, build_plan
from lazarus_train import OptimizerSettings
from lazarus_train.data.batches import make_batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.engine.optim import Optimizer
from lazarus_train.cpu.thread_parallel import Replicas, share_rows
from lazarus_train.engine.step import compute_gradients
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.objectives.causal import CausalObjective
folder, rows, tokens, steps = Path(sys.argv[1]), *map(int, sys.argv[2:5])
config = read_config(folder)
model = family_of(config.model_type).build(config)
set_weights(model, initial_weights(model, config, seed=0))
count = rows * (steps + 1)
ids = np.random.default_rng(0).integers(0, config.vocab_size, count * tokens).astype(np.int32)
lengths = LengthCache.from_rows(LengthRow(str(row), tokens) for row in range(count))
data = Dataset(lengths, ids, np.ones(len(ids), dtype=np.bool_), np.arange(count + 1) * tokens)
plan = build_plan(lengths, PlanConfig(token_budget=rows * tokens, row_len=tokens))
settings, gradients = OptimizerSettings(), LossGradients(CausalObjective().loss)
wrap_layers(model, Wrapping(low_memory=True))
optimizer, replicas = Optimizer(settings, model), Replicas(model, policy.threads)
model.train()
seconds = []
for step in map(plan.step, range(len(plan))):
    began = time.perf_counter()
    if len(seconds) == 1:
        began_work = time.process_time()
    shares = [make_batch(part, data, tokens, len(step.rows)) for part in share_rows(step.rows, replicas.threads)]
    found = compute_gradients(replicas, gradients, [shares], rows * (tokens - 1), settings.max_grad_norm)
    optimizer.update(found.tree, 1e-4)
    optimizer.evaluate()
    del found
    seconds.append(time.perf_counter() - began)
usage = resource.getrusage(resource.RUSAGE_SELF)
work = time.process_time() - began_work
print(json.dumps([rows * tokens * steps / sum(seconds[1:]), rows * tokens * steps / work, usage.ru_maxrss / 1024]))
"""

MLX_LM = """
import contextlib, io, json, resource, sys, time
import numpy as np
from pathlib import Path
import lazarus_models.blas  # our BLAS on their side too
import mlx.core as mx
import mlx.optimizers as optimizers
from mlx_lm.models import llama
from mlx_lm.tuner.callbacks import TrainingCallback
from mlx_lm.tuner.trainer import TrainingArgs, train
folder, rows, tokens, steps = Path(sys.argv[1]), *map(int, sys.argv[2:5])
said = json.loads((folder / "config.json").read_text())
model = llama.Model(llama.ModelArgs.from_dict(said))
mx.eval(model.parameters())
random = np.random.default_rng(0)
data = [(random.integers(0, said["vocab_size"], tokens).tolist(), 0) for _ in range(rows * (steps + 1))]
speeds, work = [], []
class Report(TrainingCallback):
    def on_train_loss_report(self, info):
        speeds.append(info["tokens_per_second"])
        work.append(time.process_time())
    def on_val_loss_report(self, info): pass
arguments = TrainingArgs(batch_size=rows, iters=steps + 1, val_batches=1, steps_per_report=1, steps_per_eval=10**6,
    steps_per_save=10**6, max_seq_length=tokens, adapter_file=str(folder / "adapters.safetensors"))
with contextlib.redirect_stdout(io.StringIO()):
    train(model, optimizers.AdamW(1e-4), data, data[:rows], args=arguments, training_callback=Report())
speed = len(speeds[1:]) / sum(1 / each for each in speeds[1:])
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([speed, rows * tokens * steps / (work[-1] - work[0]), memory]))
"""

TORCH = """
import json, os, resource, sys, time
from pathlib import Path
import torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
folder, rows, tokens, steps = Path(sys.argv[1]), *map(int, sys.argv[2:5])
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
seconds = []
for _ in range(steps + 1):
    ids = torch.randint(0, model.config.vocab_size, (rows, tokens))
    began = time.perf_counter()
    if len(seconds) == 1:
        began_work = time.process_time()
    optimizer.zero_grad()
    model(ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    seconds.append(time.perf_counter() - began)
usage = resource.getrusage(resource.RUSAGE_SELF)
work = time.process_time() - began_work
print(json.dumps([rows * tokens * steps / sum(seconds[1:]), rows * tokens * steps / work, usage.ru_maxrss / 1024]))
"""


def measure(python: str, code: str, arguments: list[str], **environment: str) -> tuple[float, float, float]:
    """Tokens a second, tokens a second of CPU time, and the process's largest memory in MiB."""
    done = subprocess.run(
        [python, "-c", code, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    speed, per_work, memory = json.loads(done.stdout.strip().splitlines()[-1])
    return speed, per_work, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="6M")
    parser.add_argument("--torch-python", default="", help="a Python with torch and transformers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", default="2", help="of the others, and of our products where one thread computes")
    asked = parser.parse_args()
    rows, tokens, shape = SHAPES[asked.shape]
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY[asked.shape],
        "num_key_value_heads": KEY_VALUE_HEADS[asked.shape],
        "tie_word_embeddings": IS_TIED[asked.shape],
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        **shape,
    }
    wide = "avx512f" in Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else False
    kernels = {"OPENBLAS_CORETYPE": "SkylakeX"} if wide else {}
    sides = {
        "lazarus": (
            sys.executable,
            OURS,
            {**kernels, **({"OPENBLAS_NUM_THREADS": "1"} if asked.threads == "1" else {})},
        ),
        "mlx-lm": (sys.executable, MLX_LM, {**kernels, "OPENBLAS_NUM_THREADS": asked.threads}),
    }
    if asked.torch_python:
        sides["torch"] = (asked.torch_python, TORCH, {"OMP_NUM_THREADS": asked.threads})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config))
        arguments = [str(folder), str(rows), str(tokens), str(asked.steps), str(WEIGHT_BYTES[asked.shape])]
        print(
            f"{asked.shape} at {rows} x {tokens}, {asked.steps} steps a round; load before: {os.getloadavg()[0]:.1f}\n"
        )
        print("| round | " + " | ".join(f"{side}: tokens/s, /CPU s, MiB" for side in sides) + " |")
        print("|---" * (len(sides) + 1) + "|")
        ratios: dict[str, list[tuple[float, float]]] = {side: [] for side in sides if side != "lazarus"}
        for number in range(1, asked.rounds + 1):
            found = {side: measure(python, code, arguments, **more) for side, (python, code, more) in sides.items()}
            cells = [f"{speed:,.0f}, {per_work:,.0f}, {memory:,.0f}" for speed, per_work, memory in found.values()]
            print(f"| {number} | " + " | ".join(cells) + " |", flush=True)
            for side, values in ratios.items():
                values.append((found["lazarus"][0] / found[side][0], found["lazarus"][1] / found[side][1]))
        for side, values in ratios.items():
            for what, each in zip(("tokens/s", "tokens/CPU s"), zip(*values, strict=True), strict=True):
                median, low, high = statistics.median(each), min(each), max(each)
                print(f"lazarus / {side}, {what}: median {median:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
