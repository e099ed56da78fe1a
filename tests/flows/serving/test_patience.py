"""The end of a request's work: at its next tile, whoever ends it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.serving.patience import HeedingNetwork, Patience, gone
from flows.serving.protocol import RequestError
from pipelines.core.geometry import TilePlan
from pipelines.detector.scan import scan_region
from pipelines.imaging.image_score import ScoreRule

PLAN = TilePlan(mode="grid", tile_height=32, tile_width=32, stride_height=32, stride_width=32)
REGION = np.zeros((32, 320, 3), np.uint8)


class Network:
    """Maps tiles, and has the request end at its third."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.tiles = 0

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.tiles += 1
        if self.tiles == 3:
            self.patience.end(gone())
        return np.zeros(tiles.shape[:3], np.float32)


def test_between_two_tiles_an_end_is_heeded() -> None:
    patience = Patience(60)
    network = Network(patience)
    with pytest.raises(RequestError, match="the client is gone"):
        scan_region(HeedingNetwork(network, patience), PLAN, ScoreRule(), REGION)
    assert network.tiles == 3


def test_the_deadline_is_an_end_and_names_the_option() -> None:
    patience = Patience(0)
    with pytest.raises(RequestError, match="--seconds") as refused:
        scan_region(HeedingNetwork(Network(patience), patience), PLAN, ScoreRule(), REGION)
    assert refused.value.status == 504
