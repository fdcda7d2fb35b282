"""Writes peft.json: logits of a model with adapters of PEFT, by PEFT itself.

    PYTHON packages/lazarus-models/tests/golden/make_peft.py DATA > packages/lazarus-models/tests/golden/peft.json

PYTHON has transformers 5.24 and peft 0.21; DATA is the folder of real inputs (`LAZARUS_TEST_DATA`). Every tensor of an
adapter is 0.1 * numpy's `default_rng(number).standard_normal(shape)`, numbered in the order of the names, lengths of
DoRA are 1 plus its absolute value; so adapters need not be stored.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

TARGETS = ["q_proj", "v_proj", "down_proj"]
PATTERNS = {
    "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.down_proj": 7},
    "alpha_pattern": {"v_proj": 5, "model.layers.0.self_attn.q_proj": 40},
}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "patterns": PATTERNS,
    "patterns, rslora": PATTERNS | {"use_rslora": True},
    "dora, patterns, rslora": PATTERNS | {"use_rslora": True, "use_dora": True},
    "some layers": {"layers_to_transform": [1]},
    "fan in fan out": {"fan_in_fan_out": True},
}
IDS = [1, 17, 300, 42, 5, 99]


def tensors(shapes: dict[str, Any]) -> dict[str, np.ndarray]:
    """The values of an adapter's tensors."""
    drawn = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        values = np.random.default_rng(number).standard_normal(shape).astype(np.float32)
        drawn[name] = 1 + np.abs(values) if "magnitude" in name else values * np.float32(0.1)
    return drawn


def main() -> None:
    """Writes all cases to standard output."""
    base = Path(sys.argv[1]) / "models" / "families" / "llama"
    cases = {}
    for name, members in CONFIGS.items():
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else "/tmp") / f"peft-{len(cases)}"
        model = transformers.AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
        config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=TARGETS, **members)
        peft.get_peft_model(model, config).save_pretrained(str(folder))
        file = folder / "adapter_model.safetensors"
        drawn = tensors({key: value.shape for key, value in load_file(str(file)).items()})
        save_file(drawn, str(file))
        plain = transformers.AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
        adapted = peft.PeftModel.from_pretrained(plain, str(folder)).eval()
        with torch.no_grad():
            logits = adapted(torch.tensor([IDS])).logits[0, -1]
        cases[name] = {
            "config": json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": None},
            "shapes": {key: list(value.shape) for key, value in drawn.items()},
            "logits": [round(float(value), 6) for value in logits[:64]],
        }
    print(json.dumps({"ids": IDS, "cases": cases}, sort_keys=True).replace('{"config"', '\n{"config"'))


if __name__ == "__main__":
    main()
