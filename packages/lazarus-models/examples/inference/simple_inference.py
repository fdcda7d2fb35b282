"""Ask a small published model.

`python simple_inference.py` asks `smollm2-360m`, which is downloaded once. `--prompt "Write a haiku"` asks something else.
`--list` shows the published models, `--test-tiny` needs no download, `--chat` and `--interactive` read the terminal.
"""

from lazarus_models.cli.examples import run_example

if __name__ == "__main__":
    run_example("llama", default="smollm2-360m")
