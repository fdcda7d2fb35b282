"""Qwen 3.

`python qwen3_inference.py` asks `qwen3-0.6b`, which is downloaded once. `--model qwen3-4b` asks another one.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("qwen3", default="qwen3-0.6b")
