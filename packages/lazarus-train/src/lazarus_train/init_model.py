"""Creates the model of a run with random weights, and saves it in the run's folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazarus_core.changed_values import describe_changes
from lazarus_models import init_model, read_config, save
from lazarus_models.composition import preset
from lazarus_tokenkit import compute_fingerprint, load_tokenizer
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.checkpoint import checkpoints
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.resume import NONE
from lazarus_train.run_dir.sealed_read import seal_damage
from lazarus_train.run_dir.sealed_write import seal, write_json

SOURCE = "source.json"
"""File with the inputs of the model. Equal inputs give an equal model."""


@dataclass(frozen=True)
class FreshModel:
    """Description of a model to create.

    Args:
        shape: Name of a preset, or a `config.json`. The tokenizer determines its vocabulary size and special ids.
        tokenizer: A directory, a file, or a name such as `byte`.
        vocab_size: Rows of the embedding; None takes the tokenizer's.
        seed: Random seed of the weights, as in `lazarus model new`.
    """

    shape: str | Path
    tokenizer: str
    vocab_size: int | None
    seed: int


def make_model(fresh: FreshModel, output: Path, *, resume: str) -> None:
    """Creates the model of a run at `OUT/initial`, unless it exists.

    Args:
        fresh: Shape, tokenizer, vocabulary size and seed of the model.
        output: Folder of the run.
        resume: `none` replaces an existing other model.

    Raises:
        ConfigError: There is no such preset, or the config is invalid.
        SetupError: The folder has a run that started from another model, or a run in progress.
    """
    folder = RunFolder(output)
    folder.check_is_ours()
    tokenizer = load_tokenizer(fresh.tokenizer)
    rows = fresh.vocab_size or tokenizer.vocab_size
    config = preset(fresh.shape, vocab_size=rows) if isinstance(fresh.shape, str) else read_config(fresh.shape)
    source = {
        "config": config.model_dump(mode="json"),
        "tokenizer": f"sha256:{compute_fingerprint(tokenizer).fingerprint}",
        "vocab_size": rows,
        "seed": fresh.seed,
    }
    is_whole = seal_damage(folder.initial) is None
    earlier: dict[str, Any] = json.loads((folder.initial / SOURCE).read_bytes()) if is_whole else {}
    if earlier == source:
        return
    if resume != NONE and checkpoints(folder.checkpoints):
        raise SetupError(
            f"{output} began with another model than these settings create"
            f"{f' ({describe_changes(earlier, source)})' if earlier else ''}: give its settings, another `output`, or "
            "`resume=none` to start again",
            "LR-E151",
        )
    lm = init_model(config, tokenizer, seed=fresh.seed, vocab_size=rows)

    def write(beside: Path) -> None:
        save(lm, beside)
        write_json(beside / SOURCE, source)

    with folder.held():  # another process may train the model that lies there
        seal(folder.initial, write)
