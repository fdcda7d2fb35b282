"""Jamba, a hybrid of Mamba and attention.

`python jamba_inference.py` asks `jamba-3b`, which is downloaded once. `--model jamba-1.5-mini` asks a larger one.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("jamba", default="jamba-3b")
