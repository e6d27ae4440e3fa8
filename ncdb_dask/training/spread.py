"""How far the ranges of a layer's channels are apart, and what one INT8 step for all of them is expected to cost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import TrainingError
from ncdb_dask.quantization.constants import WEIGHT_LEVELS
from ncdb_dask.quantization.equalize import spread
from ncdb_dask.training.layers import WeightLayer

Values = npt.NDArray[np.float64]
LEAST = float(np.finfo(np.float32).tiny)  # a channel whose largest weight is no more is dead


@dataclass(frozen=True)
class LayerSpread:
    """The channels of a layer.

    Attributes
    ----------
    name : str
        Of the layer.
    channels : int
        Output channels.
    spread : float
        Largest range of a live channel over the median one; 1 is balanced.
    noise_db : float or None
        Expected noise of the layer's outputs over their power, in dB, mean over live channels; None where all are dead.
    """

    name: str
    channels: int
    spread: float
    noise_db: float | None


def layer_spreads(layers: Iterable[WeightLayer]) -> list[LayerSpread]:
    """Tell of the channels of layers, a row each.

    The noise is that of weights that are rounded with one step for the layer, max |w| / 127. A rounding error of
    variance step^2 / 12 (uniform) meets inputs of equal mean square and no correlation, so that it is
    K step^2 / (12 sum over k of w_ck^2) of the power of channel c. Where all weights of a channel are below half a step
    the channel is gone, and the true figure is 0 dB.

    Parameters
    ----------
    layers : iterable of WeightLayer
        From `find_layers` with an example, so that BatchNorms are folded as an export folds them.
    """
    return [_spread(layer.name, layer.by_channel().detach().cpu().double().numpy()) for layer in layers]


def table(before: Sequence[LayerSpread], after: Sequence[LayerSpread]) -> list[dict[str, Any]]:
    """Join what was before a training and what is after it, a row a layer in the order before.

    Returns
    -------
    list of dict
        ``layer``, ``channels``, ``spread_before``, ``spread_after``, ``noise_before_db``, ``noise_after_db``.

    Raises
    ------
    TrainingError
        Where they are not of the same layers.
    """
    then = {one.name: one for one in after}
    apart = sorted({one.name for one in before} ^ set(then))
    if apart:
        raise TrainingError(f"{', '.join(apart)}: before or after alone; expected spreads of the same layers")
    return [
        {
            "layer": one.name,
            "channels": one.channels,
            "spread_before": one.spread,
            "spread_after": then[one.name].spread,
            "noise_before_db": one.noise_db,
            "noise_after_db": then[one.name].noise_db,
        }
        for one in before
    ]


def _spread(name: str, rows: Values) -> LayerSpread:
    peaks = np.abs(rows).max(axis=1)
    used = peaks > LEAST
    return LayerSpread(name, len(rows), spread(peaks[used]), _noise_db(rows[used]) if used.any() else None)


def _noise_db(rows: Values) -> float:
    step = np.abs(rows).max() / WEIGHT_LEVELS
    return 10 * log10(float(np.mean(rows.shape[1] * step**2 / 12 / np.square(rows).sum(axis=1))))
