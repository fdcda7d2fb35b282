"""Granite 3 and its MoE, Granite 4.

`python granite_inference.py` asks `granite-3.1-2b`, which is downloaded once. `--model granite-4.0-micro` asks another one.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("granite", default="granite-3.1-2b")
