"""Images that the model in training draws at evaluations: with fixed seeds, so that the same weights give the same images."""

from typing import Any

from lazarus_core.errors import LazarusError
from lazarus_models import LoadedModel
from lazarus_models.generation import ImageConfig, check_images, draw_images
from lazarus_tokenkit.tokenizers import pixel_format
from lazarus_train.config import TrainConfig
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.image_log import image_line

MOST_IMAGES = 1000
"""Most images of one evaluation: they are drawn at every one, and kept in the run's folder."""
STEPS = 32
"""Forward passes of masked diffusion for an image."""


def check_drawing(lm: LoadedModel, config: TrainConfig) -> None:
    """Refuses `sample_images` of a model that cannot draw them.

    Args:
        lm: The model.
        config: Settings of the run.

    Raises:
        SetupError: The tokenizer is not one of images, the images are too long, or they are too many.
    """
    if config.sample_images is None:
        return
    try:
        pixels = pixel_format(lm.tokenizer)
        labels = labels_of(pixels.labels, config.sample_images)
        if len(labels) > MOST_IMAGES:
            raise SetupError(
                f"`sample_images` {config.sample_images} of each label are {len(labels):,} images: give fewer, at most"
                f" {MOST_IMAGES:,} together",
                "LR-E302",
            )
        check_images(lm, pixels, labels)
    except SetupError:
        raise
    except LazarusError as error:
        raise SetupError(f"`sample_images`: {error.message}", "LR-E302") from error


def labels_of(labels: int, each: int) -> list[int | None]:
    """The labels of an evaluation's images, in the order of a grid with a row for each label.

    >>> labels_of(2, 3)
    [0, 0, 0, 1, 1, 1]

    Args:
        labels: Number of labels; 0 for images without labels.
        each: Images of each label.
    """
    every: list[int | None] = list(range(labels)) or [None]
    return [label for label in every for _ in range(each)]


def sample_images(lm: LoadedModel, config: TrainConfig, done: int) -> dict[str, Any]:
    """Draws the images of an evaluation. The model's mode is restored afterwards.

    Args:
        lm: The model.
        config: Settings of the run.
        done: Steps done.

    Returns:
        The line for the log of images.
    """
    method, each = config.objective.image_method, config.sample_images
    assert method is not None and each is not None, "checked by the settings"
    pixels = pixel_format(lm.tokenizer)
    labels = labels_of(pixels.labels, each)
    was_training = lm.model.training
    lm.model.eval()
    try:
        images = draw_images(lm, labels, ImageConfig(method=method, steps=STEPS))
    finally:
        lm.model.train(was_training)
    return image_line(done, images, labels, each)
