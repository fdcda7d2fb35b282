"""Plays an exported game with TRL 1.16: `GRPOTrainer(environment_factory=...)` for two steps, with a tiny model that imitates first.

    lazarus gym export --to trl lights_out -n 1 -o lights_out_trl.py
    /path/to/python tools/references/gym_trl.py lights_out_trl.py TOKENIZER_JSON [--calls 5]

The Python has torch, transformers and TRL, not Lazarus. The tokenizer must decode to the exact text, as that of GPT-2 does. Without imitation a random model calls no tool. It prints what TRL logged:
the number of tool calls an episode, failed ones, and the reward that TRL read from the instances.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import qwen2_5_chat_template

MAX_STEPS = 400


def load(path: Path) -> Any:
    """The exported file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def conversation(file: Any, row: dict[str, Any], calls: int) -> list[dict[str, Any]]:
    """A game by the solver's moves as calls of the tools, with what the tools return."""
    player = file.Environment()
    first = player.reset(**row)
    messages = [{"role": "user", "content": row["prompt"][-1]["content"] + first}]
    for move in file.solution(row)[:calls]:
        verb, *numbers = move.split()
        tool = getattr(player, verb)
        names = list(get_json_schema(tool)["function"]["parameters"]["properties"])
        values = [list(map(int, numbers))] if len(names) == 1 and len(numbers) > 1 else list(map(int, numbers))
        arguments = dict(zip(names, values, strict=True))
        call = {"type": "function", "function": {"name": verb, "arguments": arguments}}
        messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": verb, "content": tool(**arguments)},
        ]
    return [*messages, {"role": "assistant", "content": "Done."}]


def imitate(model: Any, tokenizer: Any, file: Any, row: dict[str, Any], calls: int) -> None:
    """Trains the model until it repeats the conversation."""
    player = file.Environment()
    tools = [
        getattr(player, name)
        for name in dir(player)
        if name[0] != "_" and name not in ("reset", "get_reward", "reward", "components")
    ]
    messages = conversation(file, row, calls)
    text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    head = tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    labels, inside = [-100] * len(ids), False
    for place, token in enumerate(ids):
        if inside:
            labels[place] = token
            inside = token != end
        elif ids[place - len(head) + 1 : place + 1] == head:
            inside = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = torch.tensor([ids])
    steps = 0
    while steps < MAX_STEPS:
        steps += 1
        loss = model(input_ids=batch, labels=torch.tensor([labels])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.01:
            break
    print(f"imitated {len(ids)} tokens in {steps} steps, loss {loss.item():.4f}")


def main() -> None:
    """Imitates, then trains two steps with TRL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--calls", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    file = load(options.file)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(options.tokenizer), eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = qwen2_5_chat_template
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    }
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), max_position_embeddings=16384, **sizes))
    imitate(model, tokenizer, file, file.train_rows()[0], options.calls)

    environment = file.Environment
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            max_steps=2,
            num_generations=2,
            per_device_train_batch_size=2,
            temperature=0.01,
            use_cpu=True,
            max_completion_length=4096,
            report_to=[],
            logging_steps=1,
            save_strategy="no",
            learning_rate=1e-7,
            max_tool_calling_iterations=options.calls,
        )
        data = Dataset.from_list(file.train_rows()[:1] * 2)
        trainer = GRPOTrainer(
            model=model, args=settings, processing_class=tokenizer, train_dataset=data, environment_factory=environment
        )
        trainer.train()
        for row in trainer.state.log_history:
            kept = {
                name: value
                for name, value in row.items()
                if name.startswith(("tools/", "rewards/", "reward")) or name == "step"
            }
            print(json.dumps(kept))
        print(trainer.environments[0].components)


if __name__ == "__main__":
    main()
