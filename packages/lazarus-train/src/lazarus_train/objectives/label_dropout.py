"""Training on images with labels: some labels are replaced by the token of no label, for classifier-free guidance.

A model that has seen both can draw with and without a label (arXiv 2207.12598). The draws depend on the seed of the step
and the row's index in the step only. The label itself is never a target.
"""

from dataclasses import dataclass, replace

import numpy as np

from lazarus_models.backend import mx
from lazarus_tokenkit import Tokenizer
from lazarus_tokenkit.errors import TokenizerError
from lazarus_tokenkit.tokenizers import PixelFormat, pixel_format
from lazarus_train.data.batches import Batch
from lazarus_train.data.dataset import Dataset
from lazarus_train.errors import SetupError

_STREAM = 0x1ABE1
"""Third word of the seed of the draws: other draws of a row are seeded by two words."""
NEEDS_IMAGES, OTHER_MASK = "LR-E300", "LR-E301"


@dataclass(frozen=True)
class LabelDropout:
    """Replaces labels by no label.

    Args:
        share: Probability of each sample.
        pixels: Format of the images, with the ids of the labels.
    """

    share: float
    pixels: PixelFormat

    @classmethod
    def of(cls, share: float | None, dataset: Dataset, tokenizer: Tokenizer) -> "LabelDropout | None":
        """The dropout of a run; None without one.

        Args:
            share: Setting `label_dropout`.
            dataset: The samples; no label among them may carry loss.
            tokenizer: Their tokenizer.

        Raises:
            SetupError: The samples are not images, or their labels carry loss.
        """
        if share is None:
            return None
        try:
            pixels = pixel_format(tokenizer)
        except TokenizerError as error:
            raise SetupError(f"`label_dropout` is for images: {error.message}", NEEDS_IMAGES) from error
        is_label = (dataset.ids >= pixels.levels) & (dataset.ids <= pixels.no_label_id)
        if (is_label & dataset.loss_mask).any():
            raise SetupError(
                "`label_dropout`: labels carry loss in the data: write the rows with `images prepare`, whose `loss_mask`"
                " covers the pixels only",
                NEEDS_IMAGES,
            )
        return cls(share, pixels)

    def apply(self, batch: Batch, seed: int) -> Batch:
        """Replaces the label of some samples.

        Args:
            batch: Some rows of a step.
            seed: Seed of the step.
        """
        ids = np.array(batch.ids, dtype=np.int32)
        is_label = (ids >= self.pixels.levels) & (ids < self.pixels.no_label_id)
        # One generator per row, and one draw per sample of the row: micro-batches do not change the draws.
        draws = {row: np.random.default_rng([seed, number, _STREAM]) for row, number in enumerate(batch.numbers)}
        for part in batch.parts:
            if draws[part.row].random() < self.share:
                own = ids[part.row, part.start : part.end]
                own[is_label[part.row, part.start : part.end]] = self.pixels.no_label_id
        return replace(batch, ids=mx.array(ids))


def check_mask_of_images(mask_id: int, tokenizer: Tokenizer) -> None:
    """Refuses another mask than that of a tokenizer of images, with which images are drawn later.

    Args:
        mask_id: Setting `mask_id`.
        tokenizer: The tokenizer; nothing is checked unless it is one of images.

    Raises:
        SetupError: The mask is another one.
    """
    try:
        pixels = pixel_format(tokenizer)
    except TokenizerError:
        return
    if mask_id != pixels.mask_id:
        raise SetupError(
            f"`mask_id` {mask_id} is not the mask of the tokenizer `{tokenizer.name}`: give {pixels.mask_id}",
            OTHER_MASK,
        )
