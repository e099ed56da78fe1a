"""From a region's anomaly map to one score for the image."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.records import Record


class ScoreRule(Record):
    """How a map becomes an image score; stored with a version, so that an old version keeps its rule.

    `border_share` of the shorter side is left out on every side, because convolutions see padding there. `top_share`
    of the remaining pixels is averaged (0: the maximum alone), so that one pixel does not decide.
    """

    kind: Literal["top"] = "top"
    border_share: float = Field(default=0.07, ge=0, lt=0.4)
    top_share: float = Field(default=0.005, ge=0, le=1)


def image_score(region_map: NDArray[np.float32], rule: ScoreRule) -> float:
    """Score an image from its map (H, W), in the map's own unit; higher is worse.

    >>> region = np.zeros((20, 20), np.float32)
    >>> region[10, 10] = 8.0
    >>> image_score(region, ScoreRule(top_share=0, border_share=0))
    8.0
    """
    border = round(rule.border_share * min(region_map.shape))
    inner = region_map[border : region_map.shape[0] - border, border : region_map.shape[1] - border].ravel()
    kept = max(1, round(rule.top_share * inner.size))
    top = np.partition(inner, inner.size - kept)[-kept:]
    return float(top.mean(dtype=np.float64))
