"""Dense pre-training: a step of ours against mlx_lm.lora's own and PyTorch's, on the same shape, in one run.

    uv run python tools/benchmarks/pretrain_speed.py [--device cpu|gpu] [--shape 6M|135M|tiny] [--rows N] [--tokens N]
        [--torch-python PATH] [--rounds 3] [--steps 4] [--threads 2] [--json PATH]

A Llama with fresh weights on full rows of random tokens: 8 x 512 for 6.5 million parameters, 4 x 256 for 135 million. Sides
take turns, A B C A B C .., each in a process of its own whose first steps are left out; the ratio is taken round by round.
PyTorch needs a Python with torch and transformers: `--torch-python`.

On a CPU everything is float32. All sides use OpenBLAS's AVX-512 kernels where the machine has them, two cores, and what memory
they like, whose peak is told. Tokens a second of CPU time tell more than tokens a second where the machine is busy; there
`--threads 1` is the fair way, for threads of a matrix product that wait for each other take CPU time too.

On a GPU 135 million parameters at 16 x 1,024 are the default. Ours and PyTorch compute in bfloat16 from float32 weights
(`--mixed-precision`, autocast); mlx-lm's weights are bfloat16, as it trains them. PyTorch runs eagerly and compiled, with fused
AdamW and TF32. The memory is the peak of the device's allocator; three steps are left out, and compilation with them.

Ours is what `lazarus train pretrain` does: batches from a plan, the device's policy, clipping, AdamW. mlx-lm's is
`mlx_lm.tuner`'s own trainer. PyTorch's is transformers' model with its loss, AdamW and clipping.
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
    "tiny": (2, 64, {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}),
    "6M": (8, 512, {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 3, "num_attention_heads": 8}),
    "135M": (
        4,
        256,
        {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9},
    ),
}
GPU_ROWS, GPU_TOKENS = 16, 1024
VOCABULARY = {"tiny": 512, "6M": 8192, "135M": 49152}
KEY_VALUE_HEADS = {"tiny": 4, "6M": 8, "135M": 3}
WEIGHT_BYTES = {"tiny": 600_000, "6M": 26_000_000, "135M": 538_000_000}
IS_TIED = {"tiny": True, "6M": False, "135M": True}
WARM_UP = {"cpu": 1, "gpu": 3}
"""Steps that are left out. On a GPU the first ones compile kernels, and the caching allocators grow."""

OURS = """
import json, resource, sys, time
import numpy as np
from pathlib import Path
from lazarus_train.devices import prepare_device
weight_bytes = int(sys.argv[5])
policy = prepare_device(weight_bytes)
from lazarus_models import read_config
from lazarus_models.backend import mx
from lazarus_models.trees import evaluate, set_weights
from lazarus_models.families import family_of
from lazarus_models.composition import initial_weights
from lazarus_plan import LengthCache, LengthRow, PlanConfig, build_plan
from lazarus_train import OptimizerSettings
from lazarus_train.data.batches import make_batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.layers.wrap import Wrapping, wrap_layers
from lazarus_train.engine.loss import make_loss_fn
from lazarus_train.engine.optim import Optimizer
from lazarus_train.cpu.thread_parallel import Replicas, share_rows
from lazarus_train.engine.step import compute_gradients
from lazarus_train.engine.gradients import LossGradients
from lazarus_train.engine.whole_step import WholeStep
from lazarus_train.objectives.causal import CausalObjective
folder, rows, tokens, steps = Path(sys.argv[1]), *map(int, sys.argv[2:5])
is_gpu, warm_up = sys.argv[6] == "gpu", int(sys.argv[7])
assert (policy.device == "gpu") is is_gpu, policy
config = read_config(folder)
model = family_of(config.model_type).build(config)
set_weights(model, initial_weights(model, config, seed=0))
count = rows * (steps + warm_up)
ids = np.random.default_rng(0).integers(0, config.vocab_size, count * tokens).astype(np.int32)
lengths = LengthCache.from_rows(LengthRow(str(row), tokens) for row in range(count))
data = Dataset(lengths, ids, np.ones(len(ids), dtype=np.bool_), np.arange(count + 1) * tokens)
plan = build_plan(lengths, PlanConfig(token_budget=rows * tokens, row_len=tokens))
settings = OptimizerSettings()
gradients = LossGradients(make_loss_fn(CausalObjective(), mixed_precision=is_gpu))
wrap_layers(model, Wrapping(low_memory=policy.is_lean))
optimizer, replicas = Optimizer(settings, model), Replicas(model, policy.threads)
model.train()
whole = WholeStep(gradients, model, optimizer, settings.max_grad_norm) if policy.compiles else None
before = None
for number, step in enumerate(map(plan.step, range(len(plan)))):
    if number == warm_up:
        if before is not None:
            evaluate(before.state)
        began, began_work = time.perf_counter(), time.process_time()
    if whole is not None:  # as the trainer: prepared while the step before is computed, whose loss is read late
        following = whole(make_batch(step.rows, data, tokens), rows * (tokens - 1), 1e-4)
        if before is not None:
            before.read()
        following.begin()
        before = following
        continue
    shares = [make_batch(part, data, tokens, len(step.rows)) for part in share_rows(step.rows, replicas.threads)]
    found = compute_gradients(replicas, gradients, [shares], rows * (tokens - 1), settings.max_grad_norm)
    optimizer.update(found.tree, 1e-4)
    optimizer.evaluate()
    del found
if before is not None:
    before.read()
    evaluate(before.state)
seconds, work = time.perf_counter() - began, time.process_time() - began_work
memory = mx.get_peak_memory() / 2**20 if is_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([rows * tokens * steps / seconds, rows * tokens * steps / work, memory]))
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
is_gpu, warm_up = sys.argv[6] == "gpu", int(sys.argv[7])
said = json.loads((folder / "config.json").read_text())
model = llama.Model(llama.ModelArgs.from_dict(said))
if is_gpu:
    model.set_dtype(mx.bfloat16)
mx.eval(model.parameters())
random = np.random.default_rng(0)
data = [(random.integers(0, said["vocab_size"], tokens).tolist(), 0) for _ in range(rows * (steps + warm_up))]
speeds, work = [], []
class Report(TrainingCallback):
    def on_train_loss_report(self, info):
        speeds.append(info["tokens_per_second"])
        work.append(time.process_time())
    def on_val_loss_report(self, info): pass
arguments = TrainingArgs(batch_size=rows, iters=steps + warm_up, val_batches=1, steps_per_report=1, steps_per_eval=10**6,
    steps_per_save=10**6, max_seq_length=tokens, adapter_file=str(folder / "adapters.safetensors"))
with contextlib.redirect_stdout(io.StringIO()):
    train(model, optimizers.AdamW(1e-4), data, data[:rows], args=arguments, training_callback=Report())
speed = steps / sum(1 / each for each in speeds[warm_up:])
memory = mx.get_peak_memory() / 2**20 if is_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([speed, rows * tokens * steps / (work[-1] - work[warm_up - 1]), memory]))
"""

TORCH = """
import contextlib, json, os, resource, sys, time
from pathlib import Path
import torch
from transformers import LlamaConfig, LlamaForCausalLM
folder, rows, tokens, steps = Path(sys.argv[1]), *map(int, sys.argv[2:5])
is_gpu, warm_up, is_compiled = sys.argv[6] == "gpu", int(sys.argv[7]), sys.argv[8] == "compiled"
if is_gpu:
    torch.set_float32_matmul_precision("high")
else:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
device = "cuda" if is_gpu else "cpu"
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).to(device)
compute = torch.compile(model) if is_compiled else model
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=is_gpu)
wait = torch.cuda.synchronize if is_gpu else lambda: None
for number in range(steps + warm_up):
    if number == warm_up:
        wait()
        began, began_work = time.perf_counter(), time.process_time()
    ids = torch.randint(0, model.config.vocab_size, (rows, tokens), device=device)
    optimizer.zero_grad()
    with torch.autocast("cuda", torch.bfloat16) if is_gpu else contextlib.nullcontext():
        loss = compute(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    loss.item()
wait()
seconds, work = time.perf_counter() - began, time.process_time() - began_work
memory = torch.cuda.max_memory_allocated() / 2**20 if is_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([rows * tokens * steps / seconds, rows * tokens * steps / work, memory]))
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


def default_device() -> str:
    from lazarus_models.backend import on_cpu

    return "cpu" if on_cpu() else "gpu"


def config_of(shape: str) -> dict[str, object]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY[shape],
        "num_key_value_heads": KEY_VALUE_HEADS[shape],
        "tie_word_embeddings": IS_TIED[shape],
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        **SHAPES[shape][2],
    }


def sides_of(asked: argparse.Namespace) -> dict[str, tuple[str, str, dict[str, str], str]]:
    """Python, code, environment and a last argument, by side."""
    if asked.device == "gpu":
        sides = {"lazarus": (sys.executable, OURS, {}, ""), "mlx-lm": (sys.executable, MLX_LM, {}, "")}
        if asked.torch_python:
            for kind in ("eager", "compiled"):  # PYTHONPATH may name wheels of the other sides
                sides[f"torch {kind}"] = (asked.torch_python, TORCH, {"PYTHONPATH": ""}, kind)
        return sides
    wide = "avx512f" in Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else False
    kernels = {"OPENBLAS_CORETYPE": "SkylakeX"} if wide else {}
    ours = {**kernels, **({"OPENBLAS_NUM_THREADS": "1"} if asked.threads == "1" else {})}
    sides = {
        "lazarus": (sys.executable, OURS, ours, ""),
        "mlx-lm": (sys.executable, MLX_LM, {**kernels, "OPENBLAS_NUM_THREADS": asked.threads}, ""),
    }
    if asked.torch_python:
        sides["torch"] = (asked.torch_python, TORCH, {"OMP_NUM_THREADS": asked.threads}, "eager")
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "gpu"], help="default: MLX's")
    parser.add_argument("--shape", choices=SHAPES, help="default: 6M on a CPU, 135M on a GPU")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--torch-python", default="", help="a Python with torch and transformers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", default="2", help="of the others, and of our products where one thread computes")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    asked = parser.parse_args()
    asked.device = asked.device or default_device()
    is_gpu = asked.device == "gpu"
    asked.shape = asked.shape or ("135M" if is_gpu else "6M")
    rows, tokens, _ = SHAPES[asked.shape]
    rows = asked.rows or (GPU_ROWS if is_gpu else rows)
    tokens = asked.tokens or (GPU_TOKENS if is_gpu else tokens)
    sides = sides_of(asked)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config_of(asked.shape)))
        shared = [str(folder), str(rows), str(tokens), str(asked.steps), str(WEIGHT_BYTES[asked.shape])]
        shared += [asked.device, str(WARM_UP[asked.device])]
        print(f"{asked.shape} at {rows} x {tokens} on a {asked.device}, {asked.steps} steps a round; ", end="")
        print(f"load before: {os.getloadavg()[0]:.1f}\n")
        print("| round | " + " | ".join(f"{side}: tokens/s, /CPU s, MiB" for side in sides) + " |")
        print("|---" * (len(sides) + 1) + "|")
        rounds: list[dict[str, tuple[float, float, float]]] = []
        for number in range(1, asked.rounds + 1):
            found = {
                side: measure(python, code, [*shared, last], **more)
                for side, (python, code, more, last) in sides.items()
            }
            cells = [f"{speed:,.0f}, {per_work:,.0f}, {memory:,.0f}" for speed, per_work, memory in found.values()]
            print(f"| {number} | " + " | ".join(cells) + " |", flush=True)
            rounds.append(found)
    for side in list(sides)[1:]:
        for place, what in enumerate(("tokens/s",) if is_gpu else ("tokens/s", "tokens/CPU s")):
            each = [found["lazarus"][place] / found[side][place] for found in rounds]
            median, low, high = statistics.median(each), min(each), max(each)
            print(f"lazarus / {side}, {what}: median {median:.2f} ({low:.2f} to {high:.2f})")
    if asked.json:
        sums = {
            side: {
                "tokens_per_s": statistics.median(found[side][0] for found in rounds),
                "memory_mib": max(found[side][2] for found in rounds),
            }
            for side in sides
        }
        asked.json.write_text(json.dumps(sums))


if __name__ == "__main__":
    main()
