"""Ask any supported model, or see that every family works, without a download.

`python ask.py smollm2-360m "What is a lockfile?"`, or `python ask.py --test-tiny`.
"""

import argparse
import sys

from lazarus_core.console import run
from lazarus_models import GenerationConfig, UnifiedPipeline, generate, init_model
from lazarus_models.composition import tiny_config
from lazarus_models.families import ModelFamilyType
from lazarus_tokenkit import load_tokenizer


def test_tiny() -> None:
    """Generates with new models of every family."""
    tokenizer = load_tokenizer("byte")
    for family in ModelFamilyType:
        if family is ModelFamilyType.COMPOSED:  # its models have no common form
            continue
        lm = init_model(tiny_config(family), tokenizer, seed=0)
        done = generate(lm, "2 + 2 = ", GenerationConfig(max_new_tokens=16))
        sys.stdout.write(f"{family}: {len(done.ids)} tokens\n")


def main(standalone_mode: bool = False) -> None:  # `run` passes it to every command line
    """Asks the model, or tries the families."""
    parser = argparse.ArgumentParser(description="Ask any supported model.")
    parser.add_argument("model", nargs="?", help="short name, directory or owner/name")
    parser.add_argument("question", nargs="?", default="What is a lockfile?")
    parser.add_argument("--test-tiny", action="store_true", help="try every family without a download")
    asked = parser.parse_args()
    if asked.test_tiny:
        test_tiny()
        return
    if asked.model is None:
        parser.error("give a model such as smollm2-360m, or --test-tiny")
    reply = UnifiedPipeline.from_pretrained(asked.model).chat(asked.question)
    sys.stdout.write(reply.text + "\n")
    sys.stderr.write(reply.stats.summary + "\n")


if __name__ == "__main__":
    run(main, "ask.py")
