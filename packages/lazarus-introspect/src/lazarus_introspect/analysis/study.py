"""`AblationStudy`: what a model writes when parts of it are ablated."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.results import Ablated, AblationResult, Resampled
from lazarus_introspect.analysis.settings import AblationConfig, check_layers
from lazarus_introspect.analysis.tokens import read_prompt, token_text
from lazarus_introspect.causal.ablation import Component, Reference, ablation_hooks, place_of, resampled_places
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import hooked, run_with_hooks
from lazarus_introspect.metrics import kl_divergence, log_softmax, numbers
from lazarus_introspect.site_table import sites
from lazarus_models import GenerationConfig, LoadedModel, generate
from lazarus_models.backend import mx
from lazarus_models.chat import parse_calls

FUNCTION_CALL = "function_call"
"""Criterion: the text has a well-formed function call. Any other criterion is a text that it must contain."""


@dataclass(frozen=True, repr=False)
class AblationStudy:
    """Texts of a model whose blocks are ablated."""

    lm: LoadedModel
    analyzer: ModelAnalyzer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "analyzer", ModelAnalyzer(self.lm))

    @classmethod
    def from_pretrained(cls, model: Path | str) -> Self:
        """Loads a model.

        Args:
            model: A directory, a short name or a repository on the hub.
        """
        return cls(ModelAnalyzer.from_pretrained(model).lm)

    def __repr__(self) -> str:
        return f"AblationStudy({self.lm.summary})"

    def ablate_and_generate(self, prompt: str, layers: Sequence[int], config: AblationConfig | None = None) -> str:
        """The text that the model writes with layers ablated jointly.

        Args:
            prompt: A text to continue, or a user's message if `config.raw` is false.
            layers: Blocks; none for the original text.
            config: Settings; None for the defaults.

        Raises:
            RequestError: A layer does not exist, or a setting has no effect.
        """
        config = config or AblationConfig()
        with self._ablated(layers, config):
            return self._text(prompt, config)

    def sweep(
        self,
        prompt: str,
        layers: Sequence[int] | None = None,
        config: AblationConfig | None = None,
        *,
        criterion: str | None = None,
        is_joint: bool = False,
    ) -> AblationResult:
        """Ablates layers one after the other, or jointly, and compares the texts.

        Args:
            prompt: A text to continue, or a user's message if `config.raw` is false.
            layers: Blocks; None for all, or for all with experts if experts are ablated.
            config: Settings; None for the defaults.
            criterion: `function_call`, or a text that the answer should contain; None for no criterion.
            is_joint: Whether all layers are ablated at once.

        Raises:
            RequestError: A layer does not exist, the criterion is empty, or a setting has no effect.
        """
        config = config or AblationConfig()
        if criterion == "":
            raise RequestError("`criterion` is empty; give a text, or function_call", "LI-E144")
        count = sites(self.lm).layers
        every = range(count) if config.component != "expert" else self._moe_layers()
        chosen = check_layers(every if layers is None else layers, count)
        read = read_prompt(self.lm, prompt, raw=config.raw)
        clean = run_with_hooks(self.lm, read.rows)[0, -1]
        original = self.ablate_and_generate(prompt, [], config)
        found: list[Ablated] = []
        for group in [tuple(chosen)] if is_joint else [(layer,) for layer in chosen]:
            with self._ablated(group, config):
                changed = run_with_hooks(self.lm, read.rows)[0, -1]
                text = self._text(prompt, config)
            sources = self._sources(group, config, len(read.ids) + config.max_new_tokens)
            found.append(self._measured(group, text, criterion, clean, changed, sources))
        request: dict[str, Any] = {"layers": layers, "criterion": criterion, "is_joint": is_joint}
        return AblationResult(
            **self.analyzer.about("ablate", read, {**request, "config": config.model_dump(mode="json")}),
            criterion=criterion,
            original=original,
            original_meets_criterion=meets(original, criterion),
            ablations=tuple(found),
        )

    def _moe_layers(self) -> list[int]:
        found = sites(self.lm)
        every = [layer for layer in range(found.layers) if f"blocks.{layer}.moe.experts" in found.present]
        if not every:
            found.find("blocks.0.moe.experts")  # says why
        return every

    def _measured(
        self,
        group: tuple[int, ...],
        text: str,
        criterion: str | None,
        clean: mx.array,
        changed: mx.array,
        sources: tuple[Resampled, ...] | None,
    ) -> Ablated:
        before, after = log_softmax(numbers(clean)), log_softmax(numbers(changed))
        target, top = int(before.argmax()), int(after.argmax())
        return Ablated(
            layers=group,
            text=text,
            meets_criterion=meets(text, criterion),
            kl=kl_divergence(clean, changed),
            top_token=token_text(self.lm, top),
            top_changed=top != target,
            logprob_change=float(after[target] - before[target]),
            resampled=sources,
        )

    def _text(self, prompt: str, config: AblationConfig) -> str:
        settings = GenerationConfig(
            max_new_tokens=config.max_new_tokens, temperature=config.temperature, seed=config.seed
        )
        return generate(self.lm, prompt, settings, raw=config.raw).text

    def _ablated(self, layers: Sequence[int], config: AblationConfig) -> AbstractContextManager[None]:
        check_layers(layers, sites(self.lm).layers)
        if (config.method in ("mean", "resample")) != bool(config.reference_prompts):
            raise RequestError(
                "`reference_prompts` and the methods `mean` and `resample` require each other: give both or neither",
                "LI-E131",
            )
        if (config.component == "expert") != bool(config.experts):
            raise RequestError(
                "`experts` and the component `expert` require each other: give both or neither", "LI-E130"
            )
        if config.component != "expert" and config.expert_mode != "drop":
            raise RequestError("`expert_mode` has an effect for the component `expert` only", "LI-E130")
        if not layers:
            return nullcontext()
        which = config.experts or (None,)
        chosen = [Component(layer, config.component, index) for layer in layers for index in which]
        rows = self._reference_rows(config)
        reference = Reference(rows, is_pooled=True) if rows else None
        hooks = ablation_hooks(
            self.lm,
            chosen,
            method=config.method,
            reference=reference,
            scale=config.noise_scale,
            seed=config.seed,
            expert_mode=config.expert_mode,
        )
        return hooked(self.lm, hooks)

    def _reference_rows(self, config: AblationConfig) -> list[list[int]]:
        """The ids of the reference prompts, cut to the last tokens of the shortest."""
        rows = [read_prompt(self.lm, text, raw=config.raw).ids for text in config.reference_prompts]
        shortest = min(map(len, rows), default=0)
        return [list(ids[-shortest:]) for ids in rows]

    def _sources(self, group: tuple[int, ...], config: AblationConfig, tokens: int) -> tuple[Resampled, ...] | None:
        """Where a resampled text of some tokens takes each component from; None for the other methods."""
        if config.method != "resample":
            return None
        rows = self._reference_rows(config)
        found: list[Resampled] = []
        for each in (Component(layer, config.component) for layer in group):
            seed = [config.seed, place_of(each)]
            drawn = resampled_places((len(rows), len(rows[0])), seed, range(tokens))[0]
            prompts, positions = drawn[:, 0].tolist(), drawn[:, 1].tolist()
            found.append(Resampled(component=each.name, prompts=tuple(prompts), positions=tuple(positions)))
        return tuple(found)


def meets(text: str, criterion: str | None) -> bool | None:
    """Whether a text meets a criterion; None without one.

    Args:
        text: The text.
        criterion: `function_call`, or a text that must occur.

    >>> meets("It is 2025.", "2025"), meets('{"name": "f", "arguments": {}}', "function_call"), meets("x", None)
    (True, True, None)
    """
    if criterion is None:
        return None
    return bool(parse_calls(text)) if criterion == FUNCTION_CALL else criterion in text
