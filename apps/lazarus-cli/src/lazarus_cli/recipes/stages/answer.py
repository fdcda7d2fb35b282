"""`answer`: asks the model, and keeps its answers."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lazarus_cli.recipes.settings_of import members_of, stage_settings
from lazarus_cli.recipes.stage import Context, Inputs, Reads, Stage, StageSettings
from lazarus_models import GenerationConfig

ANSWERS = "answers.jsonl"
SHOWN_CHARS = 60


class _Answer(StageSettings, frozen=True):
    model: Annotated[str, Reads("model")]
    """Model to ask."""
    prompts: Annotated[tuple[str, ...], Field(min_length=1)]
    """Questions."""


class AnswerStage(Stage[Any]):
    """A model to its answers."""

    kind = "answers"
    packages = ("lazarus-models", "lazarus-tokenkit", "mlx", "tokenizers")

    @classmethod
    def settings_type(cls) -> type[Any]:
        """The settings of `lazarus_models.GenerationConfig`."""
        return stage_settings("answer", _Answer, GenerationConfig, without=("logit_bias", "stop_ids", "logprobs"))

    def check(self, settings: Any) -> None:
        """Refuses what `GenerationConfig` refuses."""
        _config(settings)

    def run(self, settings: Any, inputs: Inputs, folder: Path, context: Context) -> None:
        """Writes a line for each prompt."""
        from lazarus_models import generate, load

        lm = load(inputs["model"][0].path)
        with (folder / ANSWERS).open("w", encoding="utf-8", newline="\n") as stream:
            for number, prompt in enumerate(settings.prompts):
                found = generate(lm, prompt, _config(settings))
                row = {"prompt": prompt, "answer": found.text, "tokens": len(found.ids), "finish": found.finish_reason}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                context.report(number + 1, len(settings.prompts), "prompts", "")

    def paths(self, folder: Path, part: str = "") -> tuple[Path, ...]:
        """The file with the answers."""
        return (folder / ANSWERS,)

    def summary(self, folder: Path) -> str:
        """The beginning of the first answer."""
        with (folder / ANSWERS).open(encoding="utf-8") as stream:
            row = json.loads(stream.readline())
        text = " ".join(f"{row['prompt']} -> {row['answer']}".split())
        return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


def _config(settings: Any) -> GenerationConfig:
    return GenerationConfig.model_validate(members_of(settings, GenerationConfig))
