"""Log-likelihoods of 200 multiple-choice items three ways: lm-evaluation-harness through the server, ours, and transformers.

    uv run python tools/references/lm_eval_items.py items DATA FOLDER     # items.jsonl and the task local_mc.yaml in FOLDER
    uv run lazarus serve -m smollm2 --port 8919                           # in another terminal
    lm-eval run --model local-completions --tasks local_mc --include_path FOLDER --log_samples --output_path FOLDER/out \
        --model_args model=smollm2,base_url=http://127.0.0.1:8919/v1/completions,tokenizer_backend=remote,max_length=512
    uv run python tools/references/lm_eval_items.py ours smollm2 FOLDER   # FOLDER/ours.json: `lazarus eval run`
    REFERENCE_PYTHON tools/references/lm_eval_items.py torch smollm2 FOLDER        # FOLDER/torch.json, float32
    uv run python tools/references/lm_eval_items.py compare FOLDER

DATA is the folder of real inputs; `smollm2` an imported model (docs/real-model.md). lm-eval 0.4.13 and the reference Python (torch 2.13,
transformers 5.24) have environments of their own; offline, set HF_HUB_OFFLINE=1, HF_DATASETS_OFFLINE=1 and OPENAI_API_KEY=x for lm-eval.
An item is the begin of a sentence of WikiText-2 with its end and the end of another sentence.
"""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

ITEMS = 200
TASK = """task: local_mc
dataset_path: json
dataset_kwargs:
  data_files: {path}
test_split: train
output_type: multiple_choice
doc_to_text: query
doc_to_target: gold
doc_to_choice: choices
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def make_items(data: Path, folder: Path) -> None:
    """Writes the items and the task."""
    drawn = random.Random(0)
    text = (data / "datasets/text/wikitext2-valid.txt").read_text("utf-8").replace("<unk>", "someone")
    sentences = [each.strip() for each in re.split(r"(?<=\.) ", text.replace("\n", " "))]
    sentences = [each for each in sentences if 60 < len(each) < 220 and "=" not in each]
    drawn.shuffle(sentences)
    halves = []
    for sentence in sentences[: 2 * ITEMS]:
        words = sentence.split(" ")
        cut = max(4, len(words) - drawn.randint(2, 6))
        halves.append((" ".join(words[:cut]), " " + " ".join(words[cut:])))
    rows = []
    for (query, end), (_, other) in zip(halves[:ITEMS], halves[ITEMS:], strict=True):
        gold = drawn.randrange(2)
        rows.append({"query": query, "choices": [other, end] if gold else [end, other], "gold": gold})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "local_mc.yaml").write_text(TASK.format(path=(folder / "items.jsonl").resolve()), "utf-8")


def read_items(folder: Path) -> list[dict]:
    """The items of a folder."""
    return [json.loads(line) for line in (folder / "items.jsonl").read_text("utf-8").splitlines()]


def ours(model: Path, folder: Path) -> None:
    """Scores by `lazarus eval run`, without a server."""
    task = folder / "tasks.toml"
    task.write_text('[[task]]\nkind = "choice"\nname = "local_mc"\ndata = "items.jsonl"\ndelimiter = ""\n', "utf-8")
    outputs = ["-o", folder / "report.json", "--items", folder / "scored.jsonl"]
    words = ["lazarus", "eval", "run", "-m", model, "--tasks", task, *outputs]
    subprocess.run([*map(str, words)], check=True)
    lines = map(json.loads, (folder / "scored.jsonl").read_text("utf-8").splitlines())
    (folder / "ours.json").write_text(json.dumps([line["details"]["logprobs"] for line in lines]))


def transformers_scores(model: Path, folder: Path) -> None:
    """Scores by transformers in float32; the last sum over the vocabulary is in float64."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = []
    for row in read_items(folder):
        begin, scores = len(tokenizer(row["query"]).input_ids), []
        for end in row["choices"]:
            ids = tokenizer(row["query"] + end, return_tensors="pt").input_ids
            with torch.no_grad():
                logits = lm(ids).logits[0, begin - 1 : -1].double()
            scores.append(torch.log_softmax(logits, -1).gather(-1, ids[0, begin:, None]).sum().item())
        found.append(scores)
    (folder / "torch.json").write_text(json.dumps(found))


def compare(folder: Path) -> None:
    """Prints accuracies and largest differences of what is there."""
    scores = {name: folder / f"{name}.json" for name in ("ours", "torch")}
    found = {name: np.array(json.loads(path.read_text())) for name, path in scores.items() if path.exists()}
    logs = sorted(folder.glob("out/*/samples*.jsonl"))
    if logs:
        lines = sorted(map(json.loads, logs[-1].read_text("utf-8").splitlines()), key=lambda line: line["doc_id"])
        found["endpoint"] = np.array([[float(each[0][0]) for each in line["resps"]] for line in lines])
    rows = read_items(folder)
    gold = np.array([row["gold"] for row in rows])
    lengths = np.array([[len(end) for end in row["choices"]] for row in rows])
    for name, values in found.items():
        acc, norm = ((each.argmax(1) == gold).mean() for each in (values, values / lengths))
        print(f"{name}: acc {acc:.4f}, acc_norm {norm:.4f}, {values.min():.2f} to {values.max():.2f}")
    report = folder / "report.json"
    if report.exists():
        scores = {each["metric"]: each for each in json.loads(report.read_text("utf-8"))["scores"]}
        print("lazarus eval:", ", ".join(f"{name} {scores[name]['value']:.4f}" for name in ("acc", "acc_norm")))
    for result in sorted(folder.glob("out/*/results*.json"))[-1:]:
        said = json.loads(result.read_text("utf-8"))["results"]["local_mc"]
        print(
            "lm-eval:",
            ", ".join(f"{name} {said[f'{name},none']:.4f}" for name in ("acc", "acc_norm") if f"{name},none" in said),
        )
    names = sorted(found)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            print(f"{name} - {other}: at most {np.abs(found[name] - found[other]).max():.1e}")


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    commands = {"items": make_items, "ours": ours, "torch": transformers_scores, "compare": compare}
    commands[command](*map(Path, paths))
