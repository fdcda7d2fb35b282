"""Llama 2 and 3, TinyLlama, SmolLM2, Mistral and Mixtral.

`python llama_inference.py` asks `tinyllama`, which is downloaded once. `--model smollm2-360m` asks another one.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("llama", default="tinyllama")
