"""Golden figures of larger random models, computed by transformers: code that none of ours shares.

    uv run python tools/benchmarks/models_golden.py make FOLDER       (writes the checkpoints that the test makes)
    python tools/benchmarks/models_golden.py ask FOLDER               (in an environment with torch and transformers)

The configs, and the figures that `ask` writes beside them, stand in packages/lazarus-models/tests/larger_families.json.
"""

import json
import sys
from pathlib import Path

FILE = Path(__file__).parents[2] / "packages/lazarus-models/tests/larger_families.json"
SHOWN = 12  # logits of each model that are kept
NEW = 16  # greedy tokens


def make(folder: Path) -> None:
    from lazarus_models import init_model, save
    from lazarus_models.backend import mx
    from lazarus_models.families import canonical
    from lazarus_models.trees import set_weights, weights
    from lazarus_tokenkit import load_tokenizer

    for name, entry in json.loads(FILE.read_text(encoding="utf-8"))["models"].items():
        config = canonical(entry["config"], name)
        lm = init_model(config, load_tokenizer("byte"), seed=0, vocab_size=config.vocab_size)
        noisy = {
            key: tensor + mx.random.normal(tensor.shape, scale=0.05, key=mx.random.key(place))
            for place, (key, tensor) in enumerate(weights(lm.model).items())
        }
        set_weights(lm.model, noisy)
        save(lm, folder / name)


def ask(folder: Path) -> None:
    import torch
    import transformers

    said = json.loads(FILE.read_text(encoding="utf-8"))
    said["transformers"] = transformers.__version__
    prompt = torch.tensor([said["prompt"]])
    for name, entry in said["models"].items():
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder / name, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not report["missing_keys"] and not report["unexpected_keys"], (name, report)
        ids = prompt
        with torch.no_grad():
            logits = model(ids, use_cache=False).logits[0]
            for _ in range(NEW):
                ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], dim=1)
        entry["logits"] = [round(value, 5) for value in logits[-1, :SHOWN].tolist()]
        entry["range"] = round(float(logits.max() - logits.min()), 3)
        entry["greedy"] = ids[0, prompt.shape[1] :].tolist()
        print(f"{name}: range {entry['range']}, {len(set(entry['greedy']))} different tokens")
    FILE.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    {"make": make, "ask": ask}[sys.argv[1]](Path(sys.argv[2]))
