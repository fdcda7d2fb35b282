"""The fields of a lens result: what each layer would predict at one position, and the tokens that are followed."""

from typing import Any

from lazarus_introspect.analysis import results
from lazarus_introspect.analysis.settings import AnalysisConfig
from lazarus_introspect.analysis.tokens import Prompt, Token, resolve_token, token_text
from lazarus_introspect.reading.attribution import one_position
from lazarus_introspect.reading.lens import LensNumbers, emergence, lens_numbers, read_stream, streams
from lazarus_introspect.site_table import sites
from lazarus_models import LoadedModel
from lazarus_models.backend import mx


def lens_result(lm: LoadedModel, prompt: Prompt, config: AnalysisConfig) -> tuple[dict[str, Any], LensNumbers]:
    """The fields of an `AnalysisResult` beyond its origin, and the figures of all layers.

    Args:
        lm: The model.
        prompt: The prompt.
        config: Settings.

    Raises:
        RequestError: A tracked text is not one token, or a layer or position does not exist.
    """
    place = one_position(mx.array(prompt.rows), config.position)
    count = sites(lm).layers
    listed = config.layers(count)
    tracked = [resolve_token(lm, each, multi_token=config.multi_token) for each in config.track_tokens]
    rows = mx.stack([x[0, place] for x in streams(lm, prompt.rows).values()])
    lens = lens_numbers(read_stream(lm, rows))
    predictions = tuple(
        results.LayerPrediction(
            layer_idx=layer,
            top_tokens=tuple(_probable(lm, lens, layer, token) for token in lens.top(layer, config.top_k)),
            entropy=float(lens.entropy[layer]),
            kl_to_final=float(lens.kl_to_final[layer]),
            js_to_previous=float(lens.js_to_previous[layer]),
        )
        for layer in listed
    )
    fields = {
        "position": place,
        "layers": count,
        "layer_predictions": predictions,
        "token_evolutions": tuple(_evolution(lens, token, config.threshold) for token in tracked),
    }
    return fields, lens


def _probable(lm: LoadedModel, lens: LensNumbers, layer: int, token: int) -> results.TokenProbability:
    probability = float(lens.probabilities[layer, token])
    return results.TokenProbability(token=token_text(lm, token), id=token, probability=probability)


def _evolution(lens: LensNumbers, token: Token, threshold: float) -> results.TokenEvolution:
    ranks = lens.rank(token.id)
    probabilities = [float(value) for value in lens.probabilities[:, token.id]]
    found = emergence(ranks, probabilities, threshold=threshold)
    return results.TokenEvolution(
        tracked=token,
        ranks=tuple(ranks),
        probabilities=tuple(probabilities),
        first_top1_layer=found.first_top1,
        emergence_layer=found.stable,
        first_probable_layer=found.first_probable,
    )
