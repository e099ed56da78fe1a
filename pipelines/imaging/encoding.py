"""An anomaly map as a file that others can read."""

import io

import numpy as np
import tifffile
from numpy.typing import NDArray


def encode_map(anomaly_map: NDArray[np.float32]) -> bytes:
    """Encode a map (H, W) float32 as a TIFF, exact."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, anomaly_map, compression="zlib")
    return buffer.getvalue()
