"""The checks of `gpu.sh`, which describes its settings: each in a process of its own with a limit, then one table.

    tools/benchmarks/gpu.sh [CHECK ...]

A row has the check, `ok` or `FAILED`, what was found, and the seconds. Speeds are figures; they fail only below the stated
aims: PyTorch eager's tokens a second at 135M, and 1.5 times those of mlx-lm (on a GPU only).
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IS_GPU = os.environ.get("GPU_SH_DEVICE", "gpu") == "gpu"
DATA = Path(os.environ.get("LAZARUS_TEST_DATA", ROOT.parent / "shared" / "data"))
TORCH = os.environ.get("TORCH_PYTHON", "")
LIMIT_S = float(os.environ.get("GPU_SH_LIMIT_S", "480" if IS_GPU else "1800"))
STEPS = 40 if IS_GPU else 8
"""Steps of the runs that are compared. The third one is killed half-way."""
FAMILIES = 15 if IS_GPU else 3
RUNS = 6
MAX_ERROR = 1e-4
"""Largest difference of logits to the reference, as a share of their range."""
AIMS = {"torch eager": 1.0, "mlx-lm": 1.5}
"""Least ratio of our tokens a second to the others' at 135M on a GPU."""
Found = tuple[bool, str]


def called(words: list[object], **environment: str) -> str:
    """stdout of a command; SystemExit with the end of its stderr if it fails."""
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, env={**os.environ, **environment}, cwd=ROOT
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:200]} ended with {done.returncode}: {done.stderr[-600:]}")
    return done.stdout


def lazarus(*words: object) -> str:
    return called([sys.executable, "-m", "lazarus_cli", *words])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def doctor() -> Found:
    """Device, speeds, and gradients of an embedding and of attention over six runs."""
    found = json.loads(lazarus("doctor", "--json"))
    kind, repeats = found["hardware"]["kind"], found["repeats"]
    speeds = ", ".join(
        f"{name} {found[key] / 1000:,.1f}"
        for name, key in (("float32", "gflops"), ("TF32", "gflops_tf32"), ("bfloat16", "gflops_bfloat16"))
        if found[key]
    )
    is_right = (kind != "cpu") is IS_GPU and (bool(repeats) or not IS_GPU) and set(repeats.values()) <= {RUNS}
    said = f"{found['device_name']}, {speeds} TFLOP/s; gradients equal: {repeats or 'not tested on a CPU'}"
    return is_right, f"{said}; {found['advice']}" if found["advice"] else said


def quickstart() -> Found:
    """Step 8 of the quickstart: a killed and resumed run has the bits of a straight one."""
    with tempfile.TemporaryDirectory() as folder:
        text = lazarus("quickstart", "-o", Path(folder) / "quickstart")
        lines = [line.split() for line in text.partition("8. Prove")[2].splitlines()]
        equal = [line[-3] for line in lines if len(line) >= 4 and line[-2] == "=" and line[-1] == line[-3]]
    return len(equal) == 3, f"{len(equal)} of 3 digests equal: {' '.join(equal)}"


def runs() -> Found:
    """Two equal fine-tunings, and one that is killed and resumed: equal SHA-256 of weights, metrics and audit log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (DATA / "datasets/gsm8k/train.jsonl").read_text("utf-8").splitlines()[:400]
        (folder / "train.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        model, rows, lengths = DATA / "models/stories260k", folder / "train.jsonl", folder / "lengths.jsonl"
        fields = ("--prompt-field", "question", "--completion-field", "answer")
        lazarus("data", "lengths", "build", "-d", rows, *fields, "-t", model, "-o", lengths)
        lazarus("data", "batchplan", "build", "-l", lengths, "-b", 2048, "-o", folder / "plan")
        words: list[object] = [
            *("train", "sft", "--model", model, "--data", rows, *fields, "--batch-plan", folder / "plan"),
            *("--max-steps", STEPS, "--save-every", 5),
        ]
        for run in ("first", "second"):
            lazarus(*words, "-o", folder / run)
        killed_at = _kill(folder / "third", [sys.executable, "-m", "lazarus_cli", *words, "-o", folder / "third"])
        lazarus(*words, "-o", folder / "third")
        files = ("final/model.safetensors", "metrics.jsonl", "audit.jsonl")
        found = {file: [digest(folder / run / file)[:16] for run in ("first", "second", "third")] for file in files}
    is_equal = all(len(set(each)) == 1 for each in found.values())
    said = "equal" if is_equal else f"differ: {found}"
    return is_equal, f"{STEPS} steps, killed after {killed_at}: {said}; weights {found[files[0]][0]}"


def _kill(run: Path, words: list[object]) -> int:
    """Starts a run, and kills it once half of its steps are logged; returns how many were."""
    audit = run / "audit.jsonl"
    with (run.parent / "killed.log").open("w") as log:
        process = subprocess.Popen(list(map(str, words)), cwd=ROOT, stdout=log, stderr=log)
        while True:
            done = len(audit.read_text("utf-8").splitlines()) - 1 if audit.is_file() else 0
            if done >= STEPS // 2:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return done
            if process.poll() is not None:
                raise SystemExit(f"the run to kill ended by itself: {(run.parent / 'killed.log').read_text()[-600:]}")
            time.sleep(0.02)


def families() -> Found:
    """Logits of every family within 1e-4 of transformers', and equal greedy texts."""
    import numpy as np
    from safetensors.numpy import load_file

    import lazarus_models
    from lazarus_models import GenerationConfig
    from lazarus_models.backend import mx
    from lazarus_models.generation import generate_tokens

    worst, bad, folders = 0.0, list[str](), sorted((DATA / "models/families").iterdir())
    for folder in folders[:FAMILIES]:
        reference, model = load_file(folder / "reference.safetensors"), lazarus_models.load(folder).model
        errors: list[float] = []
        for number in (0, 1):
            ids, expected = reference[f"{number}.input_ids"], reference[f"{number}.logits"]
            logits = np.array(model(mx.array(ids)[None])[0].astype(mx.float32))
            errors.append(float(np.abs(logits - expected).max() / (expected.max() - expected.min())))
        prompt = [int(each) for each in reference["0.input_ids"]]
        greedy = [int(each) for each in reference["greedy"]][len(prompt) :]
        tokens = generate_tokens(model, prompt, GenerationConfig(max_new_tokens=len(greedy)))
        written = [int(getattr(each, "token", each)) for each in tokens]
        equal = sum(mine == theirs for mine, theirs in zip(written, greedy, strict=False))
        worst = max(worst, *errors)
        if max(errors) > MAX_ERROR or equal < len(greedy):
            bad.append(f"{folder.name} ({max(errors):.1e}, {equal} of {len(greedy)} tokens)")
    count = min(FAMILIES, len(folders))
    said = f"{count - len(bad)} of {count} right, largest error {worst:.1e}"
    return not bad and count == FAMILIES, f"{said}; wrong: {', '.join(bad)}" if bad else said


def gradients() -> Found:
    """Every gradient of stories260k over six runs, in float32 and bfloat16."""
    import numpy as np

    import lazarus_models
    from lazarus_models.backend import mx
    from lazarus_models.trees import evaluate
    from lazarus_train.data.batches import Batch
    from lazarus_train.engine.gradients import MEANS, LossGradients
    from lazarus_train.engine.loss import make_loss_fn
    from lazarus_train.objectives.causal import CausalObjective

    model = lazarus_models.load(DATA / "models/stories260k").model
    model.train()
    shape = (7, 1024) if IS_GPU else (2, 64)
    ids = np.random.default_rng(0).integers(3, 500, shape)
    is_label = np.ones(shape, dtype=np.bool_)
    is_label[:, 0] = False
    batch = Batch(
        ids=mx.array(ids),
        segment_ids=mx.ones(shape, mx.int32),
        is_label=mx.array(is_label),  # pyright: ignore[reportArgumentType] (the stub knows no numpy booleans)
        places=mx.array(np.flatnonzero(is_label).astype(np.int32)),
        parts=(),
        numbers=tuple(range(shape[0])),
        step_rows=shape[0],
    )
    units, differing, said = mx.array(float(is_label.sum())), list[str](), list[str]()
    for mixed in (False, True):
        compute = LossGradients(make_loss_fn(CausalObjective(), mixed_precision=mixed))
        digests: list[dict[str, str]] = []
        for _ in range(RUNS):
            found = {name: each for name, each in compute(model, batch, units).items() if not name.startswith(MEANS)}
            evaluate(found)
            digests.append({name: hashlib.sha256(np.array(each).tobytes()).hexdigest() for name, each in found.items()})
        bad = [name for name in digests[0] if len({each[name] for each in digests}) > 1]
        differing += bad
        said.append(f"{'bfloat16' if mixed else 'float32'}: {len(digests[0]) - len(bad)} of {len(digests[0])} equal")
    return not differing, f"{RUNS} runs, {', '.join(said)}" + (
        f"; differ: {', '.join(differing[:5])}" if differing else ""
    )


def speed(script: str, *words: object) -> dict[str, Any]:
    """Figures of a speed script."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        called([sys.executable, ROOT / "tools/benchmarks" / script, *words, "--json", figures])
        return json.loads(figures.read_text())


def in_words(sides: dict[str, dict[str, float]]) -> str:
    ours = sides["lazarus"]["tokens_per_s"]
    return "; ".join(
        f"{side} {each['tokens_per_s']:,.0f} tokens/s, {each['memory_mib']:,.0f} MiB"
        + ("" if side == "lazarus" else f", ratio {ours / each['tokens_per_s']:.2f}")
        for side, each in sides.items()
    )


def pretrain() -> Found:
    """A pre-training step of 135M at 16 x 1,024 in bfloat16."""
    sizes = ["--shape", "135M", "--steps", 20] if IS_GPU else ["--shape", "tiny", "--steps", 2]
    torch = ["--torch-python", TORCH] if TORCH else []
    sides = speed("pretrain_speed.py", "--device", "gpu" if IS_GPU else "cpu", "--rounds", 1, *sizes, *torch)
    ours = sides["lazarus"]["tokens_per_s"]
    missed = [
        f"{side} x {least}"
        for side, least in AIMS.items()
        if side in sides and ours < least * sides[side]["tokens_per_s"]
    ]
    said = in_words(sides) + ("" if TORCH else "; no torch")
    return not (IS_GPU and missed), f"{said}; below the aim: {', '.join(missed)}" if IS_GPU and missed else said


def sft() -> Found:
    """Supervised fine-tuning of stories260k."""
    sizes = ["--steps", 30, "--batch-size", 16] if IS_GPU else ["--steps", 2, "--batch-size", 2]
    return True, in_words(speed("train_speed.py", "--rounds", 1, *sizes))


def generation() -> Found:
    """One text, and eight texts at once, with the tokens of mlx-lm."""
    model = [] if IS_GPU else [DATA / "models/stories260k"]
    found = speed("models_generation.py", *model, "--rounds", 4 if IS_GPU else 1)
    is_equal = all(each.pop("equal_tokens") for each in found.values())
    return is_equal or IS_GPU, "; ".join(f"{what}: {in_words(sides)}" for what, sides in found.items()) + (
        "" if is_equal else "; other tokens"
    )


CHECKS: dict[str, tuple[Callable[[], Found], int]] = {
    "doctor": (doctor, 90),
    "quickstart": (quickstart, 150),
    "runs": (runs, 120),
    "families": (families, 120),
    "gradients": (gradients, 60),
    "pretrain": (pretrain, 180),
    "sft": (sft, 90),
    "generation": (generation, 90),
}
"""Functions and limits in seconds on a GPU; ten times as long on a CPU. Promises come first, figures last."""


def one(name: str) -> int:
    """Runs a check in this process and prints its result as JSON."""
    is_right, said = CHECKS[name][0]()
    print(json.dumps({"ok": is_right, "found": said}))
    return 0


def checked(name: str, left_s: float) -> tuple[bool, str]:
    """Runs a check in a process group of its own, so that its children end with it."""
    limit = min(CHECKS[name][1] * (1 if IS_GPU else 10), left_s)
    if limit <= 1:
        return False, "not started: no time was left"
    process = subprocess.Popen(
        [sys.executable, __file__, "--one", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False, f"not done after {limit:.0f} s"
    try:
        result = json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return False, " ".join(err.split())[-400:] or f"ended with {process.returncode}"
    return bool(result["ok"]), str(result["found"])


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        return one(sys.argv[2])
    names = sys.argv[1:] or list(CHECKS)
    unknown = [name for name in names if name not in CHECKS]
    if unknown or not DATA.is_dir():
        known = f"no check {', '.join(unknown)}: choose of {', '.join(CHECKS)}"
        print(known if unknown else f"no real inputs at {DATA}: set LAZARUS_TEST_DATA", file=sys.stderr)
        return 2
    began = time.monotonic()
    print("| check | result | found | s |\n|---|---|---|---|", flush=True)
    failed: list[str] = []
    for name in names:
        start = time.monotonic()
        is_right, said = checked(name, LIMIT_S - (start - began))
        failed += [] if is_right else [name]
        words = said.replace("|", "/")
        print(f"| {name} | {'ok' if is_right else 'FAILED'} | {words} | {time.monotonic() - start:.0f} |", flush=True)
    print(f"\n{len(names) - len(failed)} of {len(names)} checks ok in {time.monotonic() - began:.0f} s", end="")
    print(f"; failed: {', '.join(failed)}" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
