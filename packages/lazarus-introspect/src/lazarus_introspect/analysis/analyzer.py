"""`ModelAnalyzer`: a loaded model, and analyses of prompts with it."""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np

from lazarus_introspect.analysis import results
from lazarus_introspect.analysis.attending import attention_result
from lazarus_introspect.analysis.lensing import lens_result
from lazarus_introspect.analysis.provenance import Provenance, provenance_of
from lazarus_introspect.analysis.settings import AnalysisConfig, LayerStrategy
from lazarus_introspect.analysis.token_pairs import token_of_each, token_pair
from lazarus_introspect.analysis.tokens import Prompt, read_prompt
from lazarus_introspect.cache import run_with_cache
from lazarus_introspect.causal.direction import SteeringDirection, check_fits
from lazarus_introspect.causal.patching import Direction, patch_sweep
from lazarus_introspect.causal.steering import Mode, steered, steering_vector
from lazarus_introspect.errors import RequestError
from lazarus_introspect.hooks import run_with_hooks
from lazarus_introspect.metrics import kl_divergence, numbers
from lazarus_introspect.reading.attribution import attribute, one_position
from lazarus_introspect.reading.lens import LensNumbers, lens_numbers
from lazarus_introspect.site_table import sites
from lazarus_models import GenerationConfig, LoadedModel, generate, load
from lazarus_models.backend import mx, own_streams

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, repr=False)
class ModelAnalyzer:
    """Analyses of prompts with one model. `async with` gives the same methods as coroutines."""

    lm: LoadedModel

    @classmethod
    def from_pretrained(cls, model: Path | str) -> Self:
        """Loads a model.

        Args:
            model: A directory, a short name or a repository on the hub.

        Raises:
            ModelsError: The model cannot be loaded.
        """
        return cls(load(model))

    async def __aenter__(self) -> "AsyncModelAnalyzer":
        return AsyncModelAnalyzer(self)

    async def __aexit__(self, *error: object) -> None:
        """Keeps the model: the analyzer can be used after the block."""

    def __repr__(self) -> str:
        return f"ModelAnalyzer({self.lm.summary})"

    @cached_property
    def provenance(self) -> Provenance:
        """Fingerprints of model and tokenizer, versions, device."""
        return provenance_of(self.lm)

    def about(self, analysis: str, prompt: Prompt, request: dict[str, Any]) -> dict[str, Any]:
        """The fields that all results share.

        Args:
            analysis: Name of the analysis.
            prompt: The prompt.
            request: Everything else that was asked.
        """
        return {
            "analysis": analysis,
            "provenance": self.provenance,
            "request": request,
            "prompt": prompt.text,
            "ids": prompt.ids,
            "tokens": prompt.tokens,
        }

    def analyze(self, prompt: str, config: AnalysisConfig | None = None) -> results.AnalysisResult:
        """A logit lens: what each layer would predict at one position.

        Args:
            prompt: A text to continue, or a user's message if `config.raw` is false.
            config: Settings; None for the defaults.

        Raises:
            RequestError: A tracked text is not one token, or a layer or position does not exist.
        """
        return self._lens(prompt, config or AnalysisConfig())[0]

    def _lens(self, text: str, config: AnalysisConfig) -> tuple[results.AnalysisResult, LensNumbers]:
        prompt = read_prompt(self.lm, text, raw=config.raw)
        fields, lens = lens_result(self.lm, prompt, config)
        return results.AnalysisResult(**self.about("analyze", prompt, config.model_dump(mode="json")), **fields), lens

    def compare(
        self, other: "ModelAnalyzer", prompt: str, config: AnalysisConfig | None = None
    ) -> results.ComparisonResult:
        """The lenses of two models on one prompt; layers are aligned by relative depth, tokens by their text.

        Args:
            other: The second model.
            prompt: A text to continue, or a user's message if `config.raw` is false.
            config: Settings of both lenses; layers are those of the first model.
        """
        config = config or AnalysisConfig()
        first, mine = self._lens(prompt, config)
        depth = [round(each.layer_idx * sites(other.lm).layers / first.layers) for each in first.layer_predictions]
        listed = config.model_copy(update={"layer_strategy": LayerStrategy.CUSTOM, "custom_layers": tuple(depth)})
        second, theirs = other._lens(prompt, listed)
        by_layer = {each.layer_idx: each.top_tokens[0] for each in second.layer_predictions}
        pairs = tuple(
            results.LayerComparison(
                first_layer=each.layer_idx,
                second_layer=layer,
                first=each.top_tokens[0],
                second=by_layer[layer],
                is_same=each.top_token == by_layer[layer].token,
            )
            for each, layer in zip(first.layer_predictions, depth, strict=True)
        )
        same_tokens = self.provenance.tokenizer == other.provenance.tokenizer
        comparable = same_tokens and mine.logits.shape[1] == theirs.logits.shape[1]
        js = None
        if comparable:
            both = lens_numbers(mx.array(np.stack([mine.logits[-1], theirs.logits[-1]]).tolist()))
            js = float(both.js_to_previous[1])
        return results.ComparisonResult(
            **self.about("compare", read_prompt(self.lm, prompt, raw=config.raw), config.model_dump(mode="json")),
            second=other.provenance,
            first_result=first,
            second_result=second,
            layers=pairs,
            agreement=sum(each.is_same for each in pairs) / len(pairs),
            output_js=js,
        )

    def attribute(
        self,
        prompt: str,
        positive: str | None = None,
        negative: str | None = None,
        *,
        position: int = -1,
        raw: bool = True,
    ) -> results.AttributionResult:
        """Shares of a logit difference, by embedding, head and MLP.

        Args:
            prompt: A text to continue, or a user's message if `raw` is false.
            positive: Text of the token whose logit counts; None for the model's prediction.
            negative: Text of the token that is subtracted; None for the second prediction.
            position: Position that is read; negative from the end.
            raw: Whether the prompt is a text to continue.

        Raises:
            RequestError: A text is not one token, or both are the same.
        """
        read = read_prompt(self.lm, prompt, raw=raw)
        place = one_position(mx.array(read.rows), position)
        pair = token_pair(read, positive, negative, place)
        found = attribute(self.lm, read.rows, pair[0].id, pair[1].id, position=place)
        heads = tuple(
            results.HeadShare(layer=layer, head=head, share=float(share))
            for layer, shares in enumerate(found.heads)
            if shares is not None
            for head, share in enumerate(shares)
        )
        request = {"positive": positive, "negative": negative, "position": position, "raw": raw}
        return results.AttributionResult(
            **self.about("attribute", read, request),
            position=place,
            positive=pair[0],
            negative=pair[1],
            difference=found.difference,
            total=found.total,
            embed=found.embed,
            pos_embed=found.pos_embed,
            norm_bias=found.norm_bias,
            heads=heads,
            mixer_rest=tuple(found.mixer_rest),
            mlp=tuple(found.mlp),
        )

    def attention(
        self,
        prompt: str,
        *,
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        has_patterns: bool = False,
        detect: bool = False,
        seed: int = 0,
        raw: bool = True,
    ) -> results.AttentionResult:
        """Attention patterns of a prompt, and heads with a known behaviour.

        Args:
            prompt: A text to continue, or a user's message if `raw` is false.
            layers: Blocks; None for all with attention.
            heads: Heads of each block; None for all.
            has_patterns: Whether the result has whole patterns.
            detect: Whether heads are tested on random repeated tokens; see `lazarus_introspect.reading.detect_heads`.
            seed: Random seed of the test.
            raw: Whether the prompt is a text to continue.
        """
        read = read_prompt(self.lm, prompt, raw=raw)
        request: dict[str, Any] = {"layers": layers, "heads": heads, "has_patterns": has_patterns}
        request |= {"detect": detect, "seed": seed, "raw": raw}
        fields = attention_result(self.lm, read, layers, heads, has_patterns=has_patterns, detect=detect, seed=seed)
        return results.AttentionResult(**self.about("attention", read, request), **fields)

    def patch(
        self,
        clean: str,
        corrupt: str,
        *,
        positive: str | None = None,
        negative: str | None = None,
        kind: str = "resid_pre",
        direction: Direction = "denoise",
        layers: Sequence[int] | None = None,
        raw: bool = True,
    ) -> results.PatchResult:
        """A sweep of activation patches between two prompts.

        Args:
            clean: The prompt with the behaviour.
            corrupt: The prompt without it, with the same number of tokens.
            positive: Text of the token that the clean prompt predicts; None for its prediction.
            negative: Text of the token that the corrupt prompt predicts; None for its most probable other token.
            kind: Site in the block; see `lazarus_introspect.causal.patch_sweep`.
            direction: `denoise`: clean activations into the corrupt run; `noise`: the other way.
            layers: Blocks; None for all.
            raw: Whether the prompts are texts to continue.

        Raises:
            RequestError: The prompts have different numbers of tokens, or a text is not one token.
        """
        pair = [read_prompt(self.lm, text, raw=raw) for text in (clean, corrupt)]
        first, second = token_of_each(pair[0], pair[1], positive, negative)
        sweep = patch_sweep(
            self.lm, pair[0].rows, pair[1].rows, first.id, second.id, kind=kind, direction=direction, layers=layers
        )
        normalised = sweep.normalised
        request: dict[str, Any] = {"positive": positive, "negative": negative, "kind": kind, "direction": direction}
        return results.PatchResult(
            **self.about("patch", pair[0], {**request, "layers": layers, "raw": raw}),
            corrupt_prompt=corrupt,
            corrupt_ids=pair[1].ids,
            corrupt_tokens=pair[1].tokens,
            kind=kind,
            direction=direction,
            by=sweep.by,
            positive=first,
            negative=second,
            sites=sweep.sites,
            columns=sweep.columns,
            clean=sweep.clean,
            corrupt=sweep.corrupt,
            difference=tuple(map(tuple, sweep.difference.tolist())),
            normalised=None if normalised is None else tuple(map(tuple, normalised.tolist())),
        )

    def steer(
        self,
        prompt: str,
        positive: Sequence[str] = (),
        negative: Sequence[str] = (),
        *,
        layer: int | None = None,
        direction: SteeringDirection | None = None,
        alpha: float = 4.0,
        mode: Mode = "add",
        where: Literal["all", "generated"] = "all",
        max_new_tokens: int = 32,
        raw: bool = True,
    ) -> results.SteeringResult:
        """Generates with and without a steering vector: the difference of means of two sets of prompts, or a direction.

        Args:
            prompt: A text to continue, or a user's message if `raw` is false.
            positive: Prompts with the property; none with `direction`.
            negative: Prompts without it; none with `direction`.
            layer: Block whose output stream is steered; None with `direction`, which has its site.
            direction: What a probe found (`lazarus_introspect.causal.load_direction`); its length counts.
            alpha: Strength.
            mode: `add`, `keep_norm` or `remove`.
            where: Steer every token, or generated ones only.
            max_new_tokens: Tokens that are generated.
            raw: Whether all prompts are texts to continue.

        Raises:
            RequestError: `direction` is of another model, or it is given together with prompts.
        """
        read = read_prompt(self.lm, prompt, raw=raw)
        site, vector = self._steering(positive, negative, layer, direction, raw=raw)
        start = 0 if where == "all" else len(read.ids)
        settings = GenerationConfig(max_new_tokens=max_new_tokens)
        logits, cache = run_with_cache(self.lm, read.rows, site)
        original = generate(self.lm, prompt, settings, raw=raw).text
        with steered(self.lm, vector, site, alpha=alpha, mode=mode, start=start):
            text = generate(self.lm, prompt, settings, raw=raw).text
            after = run_with_hooks(self.lm, read.rows)
        request: dict[str, Any] = {"positive": list(positive), "negative": list(negative), "layer": layer}
        request |= {"direction": None if direction is None else direction.members, "alpha": alpha}
        request |= {"mode": mode, "where": where, "max_new_tokens": max_new_tokens, "raw": raw}
        return results.SteeringResult(
            **self.about("steer", read, request),
            site=site,
            alpha=alpha,
            mode=mode,
            vector_norm=float(np.linalg.norm(numbers(vector))),
            stream_norm=float(np.linalg.norm(numbers(cache[site][0]), axis=-1).mean()),
            original=original,
            steered=text,
            kl=kl_divergence(logits[0, -1], after[0, -1]),
        )

    def _steering(
        self,
        positive: Sequence[str],
        negative: Sequence[str],
        layer: int | None,
        direction: SteeringDirection | None,
        *,
        raw: bool,
    ) -> tuple[str, mx.array]:
        """The site and the vector."""
        if direction is not None:
            if positive or negative or layer is not None:
                raise RequestError(
                    "`direction` has its own site and vector: give it without `positive`, `negative` and `layer`",
                    "LI-E133",
                )
            check_fits(direction, self.provenance.weights)
            return sites(self.lm).find(direction.site).name, mx.array(direction.vector)
        if layer is None or not positive or not negative:
            raise RequestError("give `direction`, or `positive`, `negative` and `layer`", "LI-E133")
        site = sites(self.lm).find(f"blocks.{layer}.resid_post").name
        ends = [[list(read_prompt(self.lm, text, raw=raw).ids) for text in texts] for texts in (positive, negative)]
        return site, steering_vector(self.lm, ends[0], ends[1], site)


@dataclass(frozen=True, repr=False)
class AsyncModelAnalyzer:
    """The methods of a `ModelAnalyzer` as coroutines; each computes in a thread of its own."""

    analyzer: ModelAnalyzer

    def __repr__(self) -> str:
        return f"AsyncModelAnalyzer({self.analyzer.lm.summary})"

    async def analyze(self, prompt: str, config: AnalysisConfig | None = None) -> results.AnalysisResult:
        """A logit lens; see `ModelAnalyzer.analyze`.

        Args:
            prompt: A text to continue, or a user's message if `config.raw` is false.
            config: Settings; None for the defaults.
        """
        return await self.run(lambda: self.analyzer.analyze(prompt, config))

    async def run(self, work: Callable[[], _Answer]) -> _Answer:
        """Runs any analysis, such as `lambda: analyzer.analyzer.patch(clean, corrupt)`, with the caller's hooks."""
        context = contextvars.copy_context()

        def done() -> _Answer:
            with own_streams():
                return context.run(work)

        with ThreadPoolExecutor(1) as thread:  # a new thread: one whose MLX streams were cleared cannot be used again
            return await asyncio.get_running_loop().run_in_executor(thread, done)
