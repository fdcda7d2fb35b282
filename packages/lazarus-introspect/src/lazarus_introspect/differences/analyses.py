"""Differences of two models with their provenance: one function a command."""

from collections.abc import Sequence
from typing import Any

from lazarus_introspect.analysis.analyzer import ModelAnalyzer
from lazarus_introspect.analysis.tokens import read_prompt
from lazarus_introspect.differences.activations import activation_diff
from lazarus_introspect.differences.results import ActivationDiffResult, ComparedPrompt, WeightDiffResult
from lazarus_introspect.differences.weights import weight_diff
from lazarus_introspect.errors import RequestError


def compare_weights(first: ModelAnalyzer, second: ModelAnalyzer, *, has_spectrum: bool = True) -> WeightDiffResult:
    """The differences of the weights of two models.

    Args:
        first: The first model.
        second: The second, such as the same model with an adapter.
        has_spectrum: Whether singular values of the differences are computed.

    Raises:
        RequestError: No tensor has the same name and shape in both.
    """
    found = weight_diff(first.lm, second.lm, has_spectrum=has_spectrum)
    return WeightDiffResult(
        analysis="weight-diff",
        provenance=first.provenance,
        request={"has_spectrum": has_spectrum},
        second=second.provenance,
        relative=found.relative,
        tensors=found.tensors,
        unchanged=sum(each.is_unchanged for each in found.tensors),
        only_first=found.only_first,
        only_second=found.only_second,
        other_shapes=found.other_shapes,
    )


def compare_activations(
    first: ModelAnalyzer,
    second: ModelAnalyzer,
    prompts: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    skip: int = 1,
    max_tokens: int = 1024,
    seed: int = 0,
    raw: bool = True,
) -> ActivationDiffResult:
    """The differences of the activations of two models on the same prompts.

    Args:
        first: The first model.
        second: The second, with the same tokenizer.
        prompts: Texts to continue, or users' messages if `raw` is false.
        names: Sites or patterns; None for `lazarus_introspect.differences.activations.DEFAULT_SITES`.
        skip: Positions that are left out at the start of each prompt.
        max_tokens: Most tokens; of more a sample is compared.
        seed: Random seed of sample and shuffles.
        raw: Whether the prompts are texts to continue.

    Raises:
        RequestError: The tokenizers give other ids, or too few tokens are left.
    """
    both = [[read_prompt(each.lm, text, raw=raw) for text in prompts] for each in (first, second)]
    if first.lm.tokenizer.vocab != second.lm.tokenizer.vocab or any(
        one.ids != two.ids for one, two in zip(*both, strict=True)
    ):
        raise RequestError(
            "the tokenizers differ, so activations of the same position are not of the same token; give two models with "
            "one tokenizer, or use `compare`",
            "LI-E171",
        )
    settings: dict[str, Any] = {"names": names, "skip": skip, "max_tokens": max_tokens, "seed": seed}
    found = activation_diff(first.lm, second.lm, [each.ids for each in both[0]], **settings)
    return ActivationDiffResult(
        analysis="activation-diff",
        provenance=first.provenance,
        request={**settings, "raw": raw},
        second=second.provenance,
        prompts=tuple(ComparedPrompt(prompt=each.text, ids=each.ids, tokens=each.tokens) for each in both[0]),
        compared=found.tokens,
        sites=found.sites,
        missing=found.missing,
        kl=found.kl,
        agreement=found.agreement,
    )
