"""`model`: a model with random weights, by a preset or a `config.json`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from lazarus_cli.recipes.stage import Context, Inputs, Reads, Stage, StageSettings


class ModelSettings(StageSettings, frozen=True):
    """A model with random weights."""

    type: Literal["model"] = "model"
    preset: str | None = None
    """Shape by name: nano, tiny-test, micro, tiny, small, medium or base."""
    config: Annotated[str | None, Reads("config")] = None
    """Shape by a model's `config.json`: a name in `data`."""
    tokenizer: Annotated[str, Reads("tokenizer")]
    """Tokenizer; it decides the special ids."""
    vocab_size: PositiveInt | None = None
    """Rows of the embedding. Default: the tokenizer's."""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """Random seed of the weights."""


class ModelStage(Stage[ModelSettings]):
    """A tokenizer and a shape to a model."""

    kind = "model"
    packages = ("lazarus-models", "lazarus-tokenkit", "mlx")

    @classmethod
    def settings_type(cls) -> type[ModelSettings]:
        """The settings."""
        return ModelSettings

    def check(self, settings: ModelSettings) -> None:
        """Refuses no shape, two shapes, and an unknown preset."""
        if (settings.preset is None) == (settings.config is None):
            raise ValueError("give one of `preset` and `config`")
        if settings.preset is not None:
            from lazarus_models.composition import PRESETS

            if settings.preset not in PRESETS:
                raise ValueError(f"`preset` is {settings.preset!r}: give one of {', '.join(PRESETS)}")

    def run(self, settings: ModelSettings, inputs: Inputs, folder: Path, context: Context) -> None:
        """Initializes and saves the model."""
        from lazarus_models import init_model, read_config, save
        from lazarus_tokenkit import load_tokenizer

        tokenizer = load_tokenizer(str(inputs["tokenizer"][0].path))
        shape: Any = settings.preset or read_config(inputs["config"][0].path)
        save(init_model(shape, tokenizer, seed=settings.seed, vocab_size=settings.vocab_size), folder)

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """The folder."""
        return (folder,)

    def summary(self, folder: Path) -> str:
        """Number of parameters."""
        from lazarus_models import load
        from lazarus_models.trees import parameter_count

        return f"{parameter_count(load(folder).model):,} parameters"
