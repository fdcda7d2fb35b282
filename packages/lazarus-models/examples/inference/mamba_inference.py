"""Mamba, a state-space model.

`python mamba_inference.py` asks `mamba-130m`, which is downloaded once. It continues texts and has no chat template.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("mamba", default="mamba-130m")
