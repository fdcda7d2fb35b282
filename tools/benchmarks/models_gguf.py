"""A GGUF file of ours, read by code that none of ours shares: the format's own package, and transformers.

    uv run lazarus-models convert --model MODEL -o FOLDER/model.gguf
    python tools/benchmarks/models_gguf.py FOLDER/model.gguf MODEL   (in an environment with gguf, torch, transformers)

MODEL is the directory that the file was made of. Every tensor's name must stand in the format's table; then the ids of a
text, the logits and 200 greedy tokens of both are compared.
"""

import sys
from pathlib import Path

TEXT = "Once upon a time, Lily saw a bird.\nIt said: hello, é!"
NEW = 200


def names(file: Path) -> None:
    import gguf

    reader = gguf.GGUFReader(file)
    architecture = gguf.MODEL_ARCH.LLAMA
    known = {gguf.TENSOR_NAMES[kind] for kind in gguf.MODEL_TENSORS[architecture]}
    found = {".".join("{bid}" if part.isdecimal() else part for part in one.name.split(".")) for one in reader.tensors}
    unknown = {name for name in found if name.rpartition(".")[0] not in known}
    print(
        f"gguf: {len(reader.tensors)} tensors, {len(reader.fields)} fields, names unknown to the format: {unknown or 0}"
    )


def compare(file: Path, directory: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    sides = [{"pretrained_model_name_or_path": directory}]
    sides.append({"pretrained_model_name_or_path": file.parent, "gguf_file": file.name})
    tokenizers = [AutoTokenizer.from_pretrained(**side) for side in sides]
    models = [AutoModelForCausalLM.from_pretrained(**side, dtype=torch.float32) for side in sides]
    expected, found = (tokenizer(TEXT).input_ids for tokenizer in tokenizers)
    start = torch.tensor([expected])
    with torch.no_grad():
        reference, logits = (model(start).logits for model in models)
    texts = [
        model.generate(start[:, :1], max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0)[0]
        for model in models
    ]
    error = float((logits - reference).abs().max() / (reference.max() - reference.min()))
    print(f"ids of a text equal: {found == expected}")
    print(f"logits differ by {error:.1e} of their range (the file is float16)")
    print(f"greedy tokens equal: {int((texts[0] == texts[1])[1:].sum())} of {NEW}")


if __name__ == "__main__":
    names(Path(sys.argv[1]))
    compare(Path(sys.argv[1]), Path(sys.argv[2]))
