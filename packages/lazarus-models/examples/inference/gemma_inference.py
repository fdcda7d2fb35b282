"""Gemma 3 and FunctionGemma.

`python gemma_inference.py` asks `gemma-3-1b`, which is downloaded once. `--model gemma-3-4b` asks another one.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("gemma", default="gemma-3-1b")
