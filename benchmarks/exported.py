"""An exported network in each precision that it needs no calibration for."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.alternation import Side
from pipelines.core.records import Precision


def run_in_float(folder: Path, tiles: NDArray[np.uint8]) -> dict[Precision, Side]:
    """Return what maps the tiles in f32, and in bf16 where the processor has it: what versions run in."""
    from pipelines.models.openvino.runtime import TileModel, machine_precisions

    def load(precision: Precision) -> Side:
        model = TileModel(folder, precision)
        return lambda: model.infer(tiles)

    return {precision: load(precision) for precision in machine_precisions() if precision != Precision.INT8}
