"""Features of crops, by the exported network. No torch here: an inspection must start at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.core.progress import track
from pipelines.imaging.crops import flip_views
from pipelines.models.openvino.runtime import TileModel


def embed_crops(network: TileModel, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return features (n, 4, d) of at least one crop (128, 128, 3), each seen with its flips."""
    return np.stack([network.infer(flip_views(crop)) for crop in track(crops, len(crops), "types")])
