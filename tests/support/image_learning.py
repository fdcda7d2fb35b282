"""Learns to draw digits: images, rows, a model and a run, then the share of drawn images that a classifier recognises."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digit_images import classify, digits, write_idx
from lazarus_models import LoadedModel, init_model, save
from lazarus_models.families import canonical
from lazarus_models.generation import ImageConfig, draw_images
from lazarus_tokenkit.images import ImageSettings, prepare_images
from lazarus_tokenkit.tokenizers import pixel_tokenizer
from lazarus_train import CausalSettings, DiffusionSettings, OptimizerSettings, TrainConfig, plan_run, train

SHAPE = {
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "rope_theta": 100,
}
"""Sizes of the model: 0.1 million parameters."""


HEIGHT, WIDTH = 8, 6
"""Sides of the images: four places for a digit."""


class Made(NamedTuple):
    """Inputs of a run."""

    rows: Path
    model: Path
    mask_id: int
    length: int


def make_inputs(folder: Path, count: int = 4000, levels: int = 2, shape: Mapping[str, int] = SHAPE) -> Made:
    """Writes digits, their rows and a model with random weights."""
    found = prepare_images(
        write_idx(folder, *digits(count, height=HEIGHT, width=WIDTH)),
        folder / "rows.jsonl",
        ImageSettings(levels=levels),
    )
    config = canonical({"model_type": "llama", "tie_word_embeddings": True, "vocab_size": 1, **shape}, "digits")
    save(init_model(config, pixel_tokenizer(found.pixels), seed=0), folder / "model")
    return Made(folder / "rows.jsonl", folder / "model", found.pixels.mask_id, found.pixels.length)


def learn(made: Made, output: Path, method: str, steps: int, rows: int = 32, **more: Any) -> Path:
    """Trains; returns the folder of the model."""
    objective = (
        DiffusionSettings(mask_id=made.mask_id, truncated_share=0.0, label_dropout=0.1)
        if method == "diffusion"
        else CausalSettings(label_dropout=0.1)
    )
    optimizer = OptimizerSettings(
        learning_rate=2e-3, min_learning_rate=2e-4, warmup_steps=30, beta2=0.98, weight_decay=0.0
    )
    config = TrainConfig(
        objective=objective,
        model=made.model,
        data=made.rows,
        batch_plan=output / "plan",
        output=output,
        max_steps=steps,
        optimizer=optimizer,
        **more,
    )
    budget = {"token_budget": made.length * rows, "row_len": made.length, "seed": 0}
    plan_run(config, {**budget, "epochs": -(-steps * rows // 4000)}, resume="none")
    return train(config, resume="none").final


def drawn(lm: LoadedModel, method: str, columns: int = 20, **more: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of each digit, and their labels."""
    labels = [label for label in range(10) for _ in range(columns)]
    return draw_images(lm, labels, ImageConfig(method=method, **more)), np.array(labels)  # pyright: ignore


def recognised(lm: LoadedModel, method: str, columns: int = 20, **more: Any) -> float:
    """Share of drawn images that are recognised as their label."""
    images, labels = drawn(lm, method, columns, **more)
    return float((classify(images) == labels).mean())
