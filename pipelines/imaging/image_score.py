"""From a region's anomaly map to one score for the image."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.core.records import FiniteRecord

_SAMPLED = 8  # every so many rows and columns


class ScoreRule(FiniteRecord):
    """How a map becomes an image score; stored with a version, so that an old version keeps its rule.

    `border_share` of the shorter side is left out on every side, because convolutions see padding there. `top_share`
    of the remaining pixels is averaged (0: the maximum alone), so that one pixel does not decide.
    """

    kind: Literal["top"] = "top"
    border_share: float = Field(default=0.07, ge=0, lt=0.4)
    top_share: float = Field(default=0.005, ge=0, le=1)


def image_score(region_map: NDArray[np.float32], rule: ScoreRule) -> float:
    """Score an image from its map.

    Args:
        region_map: Map of the region of interest, float32, shape (H, W).
        rule: How wide a border is left out, and what share of the highest values is averaged.

    Returns:
        The score in the map's own unit; higher is more anomalous.

    >>> region = np.zeros((20, 20), np.float32)
    >>> region[10, 10] = 8.0
    >>> image_score(region, ScoreRule(top_share=0, border_share=0))
    8.0
    """
    return float(top_values(region_map, rule).mean(dtype=np.float64))


def score_level(region_map: NDArray[np.float32], rule: ScoreRule) -> float:
    """Return the lowest value of a map's inner part that its image score is made of.

    Args:
        region_map: Map of the region of interest, float32, shape (H, W).
        rule: The one that the image score was made with.

    Returns:
        A value of the map, in its own unit.
    """
    return float(top_values(region_map, rule).min())


def border_width(region_map: NDArray[np.float32], rule: ScoreRule) -> int:
    """Return how many pixels are left out on every side.

    Args:
        region_map: Map of the region of interest, float32, shape (H, W); only its size counts.
        rule: Says the border as a share of the shorter side.

    Returns:
        Width in pixels of the map; may be 0.

    >>> border_width(np.zeros((100, 300), np.float32), ScoreRule(border_share=0.07))
    7
    """
    width: int = round(rule.border_share * min(region_map.shape))
    return width


def inner_part(region_map: NDArray[np.float32], rule: ScoreRule) -> NDArray[np.float32]:
    """Return a map without its border.

    Args:
        region_map: Map of the region of interest, float32, shape (H, W).
        rule: Says how wide the border is; see `border_width`.

    Returns:
        A view of `region_map`, not a copy, float32, shape (H - 2 border, W - 2 border).
    """
    border = border_width(region_map, rule)
    return region_map[border : region_map.shape[0] - border, border : region_map.shape[1] - border]


def top_values(region_map: NDArray[np.float32], rule: ScoreRule) -> NDArray[np.float32]:
    """Return the values of a map's inner part that its image score is the mean of.

    Args:
        region_map: Map of the region of interest, float32, shape (H, W); not changed.
        rule: Says the border and, as `top_share` of the inner pixels, how many values there are: one at least.

    Returns:
        The n highest values, float32, shape (n,), in no order; what is not a number counts as highest.
    """
    inner = inner_part(region_map, rule)
    kept = max(1, round(rule.top_share * inner.size))
    # Only what a sample says is high gets copied and sorted, if that is enough: a whole map would be copied twice.
    likely = np.quantile(inner[::_SAMPLED, ::_SAMPLED], max(0, 1 - 3 * kept / inner.size))
    # Not `>=`: what is not a number must not vanish from a score.
    high = inner[~(inner < likely)]
    if high.size < kept:
        high = inner.ravel()
    return np.partition(high, high.size - kept)[-kept:]
