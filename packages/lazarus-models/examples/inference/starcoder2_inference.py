"""StarCoder 2, which continues code.

`python starcoder2_inference.py` asks `starcoder2-3b`, which is downloaded once. `--prompt "def fibonacci(n):"` continues that.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("starcoder2", default="starcoder2-3b")
