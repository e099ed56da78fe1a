"""Features of crops, by the exported network. No torch here: an inspection must start at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.core.progress import track
from pipelines.imaging.crops import flip_views
from pipelines.models.openvino.runtime import TileModel


def embed_crops(network: TileModel, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return features of crops, each seen with its flips.

    Args:
        network: The exported network of `features/crops.py`.
        crops: At least one, RGB (128, 128, 3).

    Returns:
        Float32 (n, 4, d): as it is, mirrored, upside down, and both.

    Raises:
        ModelError: If the crops are of another size than the network's.
    """
    return np.stack([network.infer(flip_views(crop)) for crop in track(crops, len(crops), "types")])
