"""The fields of a lens result: what each layer would predict at one position, and the tokens that are followed."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lazarus_introspect.analysis import results
from lazarus_introspect.analysis.settings import AnalysisConfig
from lazarus_introspect.analysis.tokens import Prompt, Token, resolve_token, token_text
from lazarus_introspect.metrics import Numbers, log_softmax, numbers
from lazarus_introspect.reading.attribution import one_position
from lazarus_introspect.reading.lens import LensNumbers, emergence, lens_numbers, read_stream, streams
from lazarus_introspect.site_table import sites
from lazarus_models import LoadedModel
from lazarus_models.backend import mx

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    read = list(streams(lm, prompt.rows).values())
    rows = mx.stack([x[0, place] for x in read])
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
        "grid": _grid(lm, read, listed, config.top_k) if config.every_position else None,
    }
    return fields, lens


def _grid(lm: LoadedModel, read: list[mx.array], listed: list[int], k: int) -> results.LensGrid:
    """The lens at every position, a layer at a time: the logits of one layer are in memory."""
    final = log_softmax(numbers(read_stream(lm, read[-1][0])))
    ids: list[NDArray[np.int64]] = []
    shares: list[Numbers] = []
    distances: list[list[float]] = []
    for layer in listed:
        logs = log_softmax(numbers(read_stream(lm, read[layer][0])))  # (T, V)
        best = np.argsort(-logs, axis=1, kind="stable")[:, :k].astype(np.int64)
        ids.append(best)
        shares.append(np.exp(np.take_along_axis(logs, best, axis=1)))
        distances.append(np.maximum((np.exp(logs) * (logs - final)).sum(axis=1), 0).tolist())
    return results.LensGrid(
        layers=tuple(listed),
        ids=tuple(tuple(map(tuple, each.tolist())) for each in ids),
        probabilities=tuple(tuple(map(tuple, each.tolist())) for each in shares),
        kl_to_final=tuple(map(tuple, distances)),
        texts={int(token): token_text(lm, int(token)) for token in np.unique(ids)},
    )


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
