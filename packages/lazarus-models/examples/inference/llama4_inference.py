"""Llama 4 Scout, 109 B parameters.

`python llama4_inference.py` asks `llama-4-scout`, which is downloaded once. It needs 220 GB of memory in bfloat16.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("llama4", default="llama-4-scout")
