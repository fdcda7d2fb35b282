"""Other trainers driven by one plan, against `lazarus train sft`: ids, labels, losses and audit logs.

    REFERENCE_PYTHON tools/references/other_trainers.py --gsm8k GSM8K/train.jsonl --tokenizer MODEL [--json FIGURES]

REFERENCE_PYTHON has torch, transformers, trl, datasets, grain and no lazarus; what Lazarus and mlx-lm compute is computed by the
programs in `--bin` (by default the project's `.venv/bin`). MODEL is a folder with a tokenizer. Two plans are made of real
rows with masked prompts: one packed, one padded (mlx-lm has no masks for packed rows). Every trainer starts from the same small
Llama, in float32, by SGD without momentum, decay or clipping.

`--json tests/other_trainers.json` writes the figures that the tests compare our losses with.

Of every step are compared: the ids and labels of each row, exactly; the loss; and the step lines of the audit log, byte for
byte. `lazarus-plan audit --encoded` checks every log. Exit 1 if anything differs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STEPS, RATE, TOLERANCE = 8, 0.2, 1e-5
# A packed step has two rows: of three processes, or three micro-batches, one has none.
MODES = {
    "packed": ["-b", "1024", "--row-len", "512", "--oversize", "split"],
    "padded": ["-b", "2304", "--row-len", "768", "--mode", "padded"],
}
Batches = Callable[[Any, Any, int], Iterator[list[Any]]]
"""From a plan, its data and the first step to the micro-batches of every step."""
Rows = dict[int, tuple[list[int], list[int]]]
"""Ids and labels of each row of a step, by its number."""

OURS = """
import json, sys
from pathlib import Path
import numpy as np
from lazarus_plan import load_plan
from lazarus_tokenkit import Encoder, FieldNames, load_tokenizer
from lazarus_train.data.batches import make_batch
from lazarus_train.data.dataset import read_dataset

model, rows, folder, steps, output = sys.argv[1:]
plan, dataset = load_plan(folder), read_dataset(Path(rows), Encoder(load_tokenizer(model)), FieldNames())
found = []
for index in range(int(steps)):
    step = plan.step(index)
    batch = make_batch(step.rows, dataset, step.row_len)
    ids, is_label = np.array(batch.ids), np.array(batch.is_label)
    found.append({n: [i.tolist(), np.where(m, i, -100).tolist()] for n, (i, m) in enumerate(zip(ids, is_label))})
Path(output).write_text(json.dumps(found))
"""

MLX = """
import json, sys
from pathlib import Path

import mlx.core as mx
import mlx.optimizers as optim
from mlx_lm.tuner.callbacks import TrainingCallback
from mlx_lm.utils import load_model

sys.path.insert(0, sys.argv[1])
import planned_mlx as planned

work, folder, encoded, out, steps, rate, micro_batches = sys.argv[1:]
steps, micro_batches = int(steps), int(micro_batches)
world = mx.distributed.init()
plan = planned.PlanSteps(folder, world.rank(), world.size(), micro_batches)
data = planned.EncodedSamples(encoded, plan)
model, _ = load_model(Path(work) / "model", lazy=False)
losses, rows = [], []

class Noted(planned.PlannedBatches):
    def __getitem__(self, index):
        batch = super().__getitem__(index)
        if index % micro_batches == 0:
            rows.append({})
        for number, ids, labels in zip(batch["row_numbers"], batch["input_ids"], batch["labels"]):
            if number >= 0:
                rows[-1][number] = [ids, labels]
        return batch

planned.PlannedBatches = Noted

class Losses(TrainingCallback):
    def on_train_loss_report(self, report):
        losses.append(report["train_loss"])

args = planned.TrainingArgs(
    batch_size=4, iters=steps * micro_batches, val_batches=2, steps_per_report=micro_batches, steps_per_eval=3,
    adapter_file=str(Path(out) / "adapter.safetensors"), grad_accumulation_steps=micro_batches,
)
planned.train_by_plan(
    model, optim.SGD(float(rate)), plan, data, args, data[:8], audit_path=str(Path(out) / "audit.jsonl"),
    training_callback=Losses(),
)
name = f"found-{world.rank()}.json" if world.rank() else "found.json"
(Path(out) / name).write_text(json.dumps({"losses": losses, "rows": rows[:steps]}))
"""

REFUSED: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "three epochs, TRL's default": ("LP-E194", {"max_steps": -1}, ["input_ids", "mask"]),
    "more steps than the plan has": ("LP-E194", {"max_steps": 10**6}, ["input_ids", "mask"]),
    "dataloader_drop_last": ("LP-E194", {"dataloader_drop_last": True}, ["input_ids", "mask"]),
    "group_by_length": ("LP-E194", {"train_sampling_strategy": "group_by_length"}, ["input_ids", "mask"]),
    "packing": ("LP-E194", {"packing": True, "max_length": 512}, ["input_ids", "labels"]),
    "shuffle_dataset": ("LP-E194", {"shuffle_dataset": True}, ["input_ids", "mask"]),
    "ignore_data_skip": ("LP-E194", {"ignore_data_skip": True}, ["input_ids", "mask"]),
    "auto_find_batch_size": ("LP-E194", {"auto_find_batch_size": True}, ["input_ids", "mask"]),
    "completion_only_loss without a mask": ("LP-E190", {"completion_only_loss": True}, ["input_ids"]),
    "nothing says what is predicted": ("LP-E190", {}, ["input_ids"]),
    "completion_mask and completion_only_loss=False": (
        *("LP-E190", {"completion_only_loss": False}),
        ["input_ids", "completion_mask"],
    ),
    "max_length cuts samples": ("LP-E193", {"max_length": 64}, ["input_ids", "labels"]),
    "samples in another order": ("LP-E193", {}, ["input_ids", "mask"]),
    "a log of another plan": ("LP-E197", {}, ["input_ids", "mask"]),
}
"""What TRL is asked for, which columns the data have, and the code that it is refused with."""


class Setting:
    """Files and numbers that every trainer is given."""

    def __init__(self, work: Path, mode: str) -> None:
        self.work, self.mode = work, mode
        self.plan, self.model, self.encoded = str(work / mode), str(work / "model"), str(work / "encoded.jsonl")

    def out(self, name: str) -> Path:
        folder = self.work / f"{self.mode}-{name}"
        folder.mkdir(exist_ok=True)
        return folder


def load(setting: Setting) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_pretrained(setting.model, dtype=torch.float32, attn_implementation="sdpa").train()


def note(rows: list[Rows], batch: Any) -> None:
    """Keeps the rows of a batch by step and number."""
    while len(rows) <= int(batch["step"]):
        rows.append({})
    listed = [batch[name].tolist() for name in ("row_numbers", "input_ids", "labels")]
    rows[int(batch["step"])] |= {
        number: (ids, labels) for number, ids, labels in zip(*listed, strict=True) if number >= 0
    }


def write(out: Path, losses: list[float], rows: list[Rows], rank: int = 0) -> None:
    (out / (f"found-{rank}.json" if rank else "found.json")).write_text(json.dumps({"losses": losses, "rows": rows}))


def loop(
    setting: Setting,
    name: str,
    *,
    batches: Batches | None = None,
    micro_batches: int = 1,
    first_step: int = 0,
) -> None:
    """A PyTorch loop: one process, or as many as the environment says."""
    import torch

    planned: Any = import_module("planned_torch")
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    out, model, inner = setting.out(name), load(setting), None
    inner = model
    if world_size > 1:
        torch.distributed.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    plan = planned.PlanSteps(setting.plan, rank, world_size, micro_batches)
    data = planned.EncodedSamples(setting.encoded, plan)
    if first_step:
        inner.load_state_dict(torch.load(out / "model.pt"))
    log = planned.AuditLog(str(out / "audit.jsonl"), plan, first_step, planned.gather_digests)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    losses: list[float] = []
    rows: list[Rows] = []
    source = (
        batches(plan, data, first_step)
        if batches
        else planned.plan_loader(plan, data, first_step, num_workers=world_size - 1)
    )
    for micro in source:
        tokens, total = planned.count_loss_tokens(micro), torch.zeros(())
        for number, batch in enumerate(micro):
            note(rows, batch)
            if world_size > 1:
                model.require_backward_grad_sync = number == len(micro) - 1
            logits = model(**planned.model_inputs(batch), use_cache=False).logits
            loss = planned.step_loss(logits, batch["labels"], tokens)
            loss.backward()
            total += loss.detach()
        optimizer.step()
        optimizer.zero_grad()
        log.consumed(*micro)
        if world_size > 1:
            torch.distributed.all_reduce(total)
        losses.append(total.item() / world_size)
        if len(losses) + first_step == STEPS:
            break
        if first_step == 0 and name.endswith("resumed") and len(losses) == STEPS // 2:
            torch.save(inner.state_dict(), out / "model.pt")
            return loop(setting, name, batches=batches, first_step=len(losses)) or merge(out, losses, rows)
    write(out, losses, rows, rank)
    return None


def merge(out: Path, losses: list[float], rows: list[Rows]) -> None:
    """Puts what a run found before it was resumed in front of what it found after."""
    after = json.loads((out / "found.json").read_text())
    write(out, losses + after["losses"], rows + after["rows"][len(rows) :])


def grain_batches(workers: int) -> Batches:
    """Batches of the exported Grain source, read in so many worker processes, as tensors."""

    def batches(plan: Any, data: Any, first_step: int) -> Iterator[list[Any]]:
        import grain
        import torch

        planned: Any = import_module("planned_grain")
        own = planned.PlanSteps(plan.path)
        source = planned.PlanSource(own, planned.EncodedSamples(data.paths, own))
        dataset = grain.MapDataset.source(source)[first_step:].to_iter_dataset(
            grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
        )
        if workers:
            dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
        for batch in dataset:
            yield [{name: torch.tensor(values, dtype=torch.long) for name, values in batch.items()}]

    return batches


def trainer(
    setting: Setting,
    name: str,
    *,
    is_trl: bool,
    micro_batches: int = 1,
    is_resumed: bool = False,
    columns: str = "mask",
) -> None:
    """SFTTrainer or Trainer: one process, or as many as the environment says."""
    from datasets import Dataset
    from transformers import AutoTokenizer, Trainer, TrainingArguments
    from trl import SFTConfig, SFTTrainer

    planned: Any = import_module("planned_trl")
    out = setting.out(name)
    rows: list[Rows] = []

    class Planned(planned.FollowsPlan, SFTTrainer if is_trl else Trainer):  # pyright: ignore[reportUntypedBaseClass]
        batch_plan = setting.plan
        audit_path = str(out / "audit.jsonl")

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            note(rows, inputs)
            return super().training_step(model, inputs, *args, **kwargs)

    samples = [dict(row) for row in planned.EncodedSamples(setting.encoded, planned.PlanSteps(setting.plan))]
    if columns == "completion_mask":
        samples = [{"input_ids": row["input_ids"], "completion_mask": row["mask"]} for row in samples]
    settings: dict[str, Any] = {
        "output_dir": str(out / "trainer"),
        "max_steps": STEPS,
        "learning_rate": RATE,
        "optim": "sgd",
        "optim_args": "momentum=0.0",
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "gradient_accumulation_steps": micro_batches,
        "save_strategy": "steps",
        "save_steps": STEPS // 2,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "dataloader_num_workers": 1,
        "dataloader_pin_memory": False,
    }
    if is_trl:
        settings |= {"max_length": None, "gradient_checkpointing": False}
        settings |= {"completion_only_loss": True} if columns == "completion_mask" else {}
    made: dict[str, Any] = {"train_dataset": Dataset.from_list(samples)}
    made |= {"processing_class": AutoTokenizer.from_pretrained(setting.model)} if is_trl else {}
    chosen = SFTConfig if is_trl else TrainingArguments

    def run(resume: str | None = None, **changes: Any) -> Any:
        ran = Planned(model=load(setting), args=chosen(**{**settings, **changes}), **made)
        ran.train(resume_from_checkpoint=resume)
        return ran

    ran = run()
    if is_resumed:  # the whole run was made; go back to its checkpoint and do the rest again
        del rows[STEPS // 2 :]
        ran = run(str(out / "trainer" / f"checkpoint-{STEPS // 2}"))
    losses = [entry["loss"] for entry in ran.state.log_history if "loss" in entry]
    write(out, losses, rows, int(os.environ.get("RANK", 0)))


def refuse(setting: Setting, name: str) -> None:
    """Starts SFTTrainer with every setting that would break the plan; writes the code that each was refused with."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    planned: Any = import_module("planned_trl")
    out, codes = setting.out(name), dict[str, str]()
    (out / "other.jsonl").write_text(json.dumps({"lazarus_audit": 2, "plan_id": "sha256:" + "0" * 64}) + "\n")

    class Planned(planned.FollowsPlan, SFTTrainer):  # pyright: ignore[reportUntypedBaseClass]
        batch_plan = setting.plan

    samples = [dict(row) for row in planned.EncodedSamples(setting.encoded, planned.PlanSteps(setting.plan))]
    for row in samples:
        row["completion_mask"] = row["mask"]
        row["labels"] = [token if counts else -100 for token, counts in zip(row["input_ids"], row["mask"], strict=True)]
    for case, (_, changes, columns) in REFUSED.items():
        given = {"max_steps": STEPS, "max_length": None, "report_to": "none", "use_cpu": True, "bf16": False, **changes}
        rows = samples[::-1] if "order" in case else samples
        Planned.audit_path = str(out / ("other.jsonl" if "log" in case else "audit.jsonl"))
        try:
            made = Planned(
                model=load(setting),
                args=SFTConfig(str(out / "trainer"), gradient_checkpointing=False, **given),
                train_dataset=Dataset.from_list([{name: row[name] for name in columns} for row in rows]),
                processing_class=AutoTokenizer.from_pretrained(setting.model),
            )
            made.train()
            codes[case] = "trained"
        except planned.PlanRefused as refused:
            codes[case] = refused.code
    (out / "codes.json").write_text(json.dumps(codes))


def read_me(setting: Setting, name: str) -> None:
    """Runs the examples for PyTorch and TRL that the README of lazarus-plan shows."""
    folder = setting.out(name)
    for link, target in (("plan", setting.plan), ("model", setting.model), ("encoded.jsonl", setting.encoded)):
        (folder / link).symlink_to(target)
    text = (ROOT / "packages/lazarus-plan/README.md").read_text("utf-8")
    examples = [part.partition("```")[0] for part in text.split("```py\n")[1:]]
    os.chdir(folder)
    for target, example in zip(("torch", "trl"), examples, strict=True):
        sys.modules["planned"] = import_module(f"planned_{target}")
        exec(compile(example, f"README, {target}", "exec"), {"__name__": "__main__"})


RUNS: dict[str, Callable[[Setting, str], None]] = {
    "pytorch": loop,
    "pytorch, 3 micro-batches": lambda setting, name: loop(setting, name, micro_batches=3),
    "pytorch, resumed": loop,
    "pytorch, 2 processes": loop,
    "pytorch, 3 processes": loop,
    "grain, 0 workers": lambda setting, name: loop(setting, name, batches=grain_batches(0)),
    "grain, 2 workers": lambda setting, name: loop(setting, name, batches=grain_batches(2)),
    "grain, 2 workers, resumed": lambda setting, name: loop(setting, name, batches=grain_batches(2)),
    "trainer": lambda setting, name: trainer(setting, name, is_trl=False),
    "trainer, 2 processes": lambda setting, name: trainer(setting, name, is_trl=False),
    "trl": lambda setting, name: trainer(setting, name, is_trl=True),
    "trl, completion_only_loss": lambda setting, name: trainer(setting, name, is_trl=True, columns="completion_mask"),
    "trl, accumulation 2": lambda setting, name: trainer(setting, name, is_trl=True, micro_batches=2),
    "trl, resumed": lambda setting, name: trainer(setting, name, is_trl=True, is_resumed=True),
    "trl, 2 processes": lambda setting, name: trainer(setting, name, is_trl=True),
}
MLX_RUNS = {"mlx-lm": 1, "mlx-lm, accumulation 2": 2, "mlx-lm, 2 processes": 1, "mlx-lm, 4 processes": 1}
OTHER_RUNS: dict[str, Callable[[Setting, str], None]] = {"refused": refuse, "readme": read_me}


def processes(name: str) -> int:
    return int(name.split(", ")[1].split()[0]) if name.endswith("processes") else 1


class Lazarus:
    """The programs of Lazarus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, program: str, *args: object) -> str:
        command = [str(self.folder / program), *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(
                f"{' '.join(command[:4])} exited {done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
            )
        return done.stdout


def prepare(work: Path, lazarus: Lazarus, gsm8k: Path, tokenizer: Path) -> None:
    """Rows, model, lengths, plans, encoded rows, exported files, and our own runs."""
    lines = gsm8k.read_text("utf-8").splitlines()[:120]
    rows = [{"prompt": row["question"], "completion": row["answer"]} for row in map(json.loads, lines)]
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = ["-t", work / "model", "-d", work / "rows.jsonl"]
    lazarus("lazarus", "model", "new", "--preset", "nano", "-t", tokenizer, "-o", work / "model", "--seed", 1)
    lazarus("lazarus-tokenkit", "lengths", "build", *data, "-o", work / "lengths.jsonl")
    lazarus("lazarus-tokenkit", "encode", *data, "-o", work / "encoded.jsonl")
    for target in ("torch", "trl", "grain", "mlx"):
        lazarus("lazarus-plan", "export", "--to", target, "-o", work / f"planned_{target}.py")
    for mode, shape in MODES.items():
        lazarus("lazarus-plan", "build", "-l", work / "lengths.jsonl", *shape, "--predictable", "-o", work / mode)
        run = work / f"{mode}-lazarus"
        lazarus(
            *("lazarus", "train", "sft", "--model", work / "model", "--data", work / "rows.jsonl"),
            *("--batch-plan", work / mode, "-o", run, "--max-steps", STEPS, "--optimizer", "sgd", "--momentum", 0),
            *("--learning-rate", RATE, "--schedule", "constant", "--weight-decay", 0, "--max-grad-norm", 1e9),
        )
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        lazarus("python", "-c", OURS, work / "model", work / "rows.jsonl", work / mode, STEPS, run / "rows.json")
        found = {
            "losses": [line["loss"] for line in metrics if "loss" in line],
            "rows": json.loads((run / "rows.json").read_text()),
        }
        (run / "found.json").write_text(json.dumps(found))


def start(work: Path, mode: str, *names: str) -> None:
    """Runs trainers one after the other, in as many processes as they ask for."""
    world = processes(names[0])
    base = {**os.environ, "PYTHONPATH": str(work), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    base |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    running: list[subprocess.Popen[str]] = []
    for rank in range(world):
        ranks = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": 29512,
        }
        extra = {key: str(value) for key, value in ranks.items()} if world > 1 else {}
        command = [sys.executable, __file__, "--inside", str(work), mode, *names]
        running.append(
            subprocess.Popen(command, env=base | extra, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{mode}, {', '.join(names)}: {said[0][-6000:]}")


def compare(work: Path, mode: str, name: str, lazarus: Lazarus) -> dict[str, Any]:
    """What a run has in common with ours."""
    ours, out = json.loads((work / f"{mode}-lazarus/found.json").read_text()), work / f"{mode}-{name}"
    found = json.loads((out / "found.json").read_text())
    for rank in range(1, processes(name)):
        for rows, more in zip(found["rows"], json.loads((out / f"found-{rank}.json").read_text())["rows"], strict=True):
            rows |= more
    differences = [abs(a - b) for a, b in zip(ours["losses"], found["losses"], strict=True)]
    rows_differ = sum(
        expected != there
        for a, b in zip(ours["rows"], found["rows"], strict=True)
        for expected, there in ((a.get(n), b.get(n)) for n in a.keys() | b.keys())
    )
    lines = [step_lines(work / f"{mode}-lazarus/audit.jsonl"), step_lines(out / "audit.jsonl")]
    audit = ["audit", "-p", work / mode, "--encoded", work / "encoded.jsonl", "--json", "--log"]
    heads = [
        json.loads(lazarus("lazarus-plan", *audit, log / "audit.jsonl"))["data_head"]
        for log in (work / f"{mode}-lazarus", out)
    ]
    figures: dict[str, Any] = {
        "mode": mode,
        "trainer": name,
        "steps": len(differences),
        "labels": sum(label != -100 for step in found["rows"] for _, labels in step.values() for label in labels),
        "rows_that_differ": rows_differ,
        "loss_difference": max(differences),
        "losses": [round(loss, 6) for loss in found["losses"]],
        "step_lines_equal": lines[0] == lines[1],
        "data_heads_equal": heads[0] == heads[1],
    }
    is_equal = figures["loss_difference"] <= TOLERANCE and not figures["rows_that_differ"]
    return figures | {"equal": is_equal and figures["step_lines_equal"] and figures["data_heads_equal"]}


def compare_codes(work: Path, mode: str, name: str, lazarus: Lazarus) -> dict[str, Any]:
    """Whether every setting was refused with its code."""
    codes = json.loads((work / f"{mode}-{name}/codes.json").read_text())
    expected = {case: code for case, (code, _, _) in REFUSED.items()}
    return {"mode": mode, "trainer": name, "codes": codes, "equal": codes == expected}


def compare_examples(work: Path, mode: str, name: str, lazarus: Lazarus) -> dict[str, Any]:
    """Whether the logs of the examples prove that they trained on the whole plan."""
    audit = ["audit", "-p", work / mode, "--encoded", work / "encoded.jsonl", "--complete", "--json", "--log"]
    logs = [work / f"{mode}-{name}" / folder / "audit.jsonl" for folder in ("run", "trl")]
    heads = {json.loads(lazarus("lazarus-plan", *audit, log))["data_head"] for log in logs}
    return {"mode": mode, "trainer": name, "equal": len(heads) == 1}


OTHER_CHECKS = {"refused": compare_codes, "readme": compare_examples}


def run_mlx(setting: Setting, name: str, lazarus: Lazarus) -> None:
    """Runs mlx-lm's trainer in the environment of Lazarus."""
    script, world = setting.work / "run_mlx.py", processes(name)
    script.write_text(MLX)
    settings = [setting.work, setting.plan, setting.encoded, setting.out(name), STEPS, RATE, MLX_RUNS[name]]
    if world == 1:
        lazarus("python", "-W", "ignore", script, *settings)
    else:
        lazarus("mlx.launch", "-n", world, "--", lazarus.folder / "python", script, *settings)


def step_lines(log: Path) -> list[list[str]]:
    """Step, leaf and row root of each step line; the head of a log also covers what our trainer binds besides."""
    lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    return [[line["step"], line["leaf"], line["rows"]] for line in lines if "bind" not in line]


def main() -> int:
    parser = argparse.ArgumentParser(description="Other trainers driven by one plan, against `lazarus train sft`.")
    parser.add_argument("--gsm8k", type=Path, required=True, help="train.jsonl of GSM8K")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument(
        "--bin", type=Path, default=ROOT / ".venv/bin", help="folder with lazarus and the Python that has mlx-lm"
    )
    parser.add_argument("--only", default="", help="runs whose names begin so, separated by ;")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    lazarus, work = Lazarus(args.bin), Path(tempfile.mkdtemp(prefix="other-trainers-"))
    results: list[dict[str, Any]] = []
    prepare(work, lazarus, args.gsm8k, args.tokenizer)
    begins = tuple(args.only.split(";"))
    for mode in MODES:
        names = [*RUNS, *(MLX_RUNS if mode == "padded" else OTHER_RUNS)]
        names = [name for name in names if name.startswith(begins)]
        alone = [name for name in names if name not in MLX_RUNS and processes(name) == 1]
        if alone:
            start(work, mode, *alone)  # in one process: to import the trainers takes longer than to train
        for name in names:
            if name in MLX_RUNS:
                run_mlx(Setting(work, mode), name, lazarus)
            elif name not in alone:
                start(work, mode, name)
            results.append(OTHER_CHECKS.get(name, compare)(work, mode, name, lazarus))
            shown = {key: value for key, value in results[-1].items() if key not in ("mode", "trainer", "losses")}
            print(f"{'equal ' if results[-1]['equal'] else 'DIFFER'} {mode}, {name}: {shown}", flush=True)
    if args.json:
        args.json.write_text("[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n")
    shutil.rmtree(work)
    return 0 if results and all(result["equal"] for result in results) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        for run_name in sys.argv[4:]:
            (RUNS | OTHER_RUNS)[run_name](Setting(Path(sys.argv[2]), sys.argv[3]), run_name)
    else:
        raise SystemExit(main())
