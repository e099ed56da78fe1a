"""Time of one tile's anomaly map against anomalib's, in torch and in OpenVINO."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.alternation import Side, time_sides
from benchmarks.drawn_images import SIDE, draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.exported import run_in_float
from benchmarks.figures import Figure, ratio_figure
from benchmarks.in_use import fit_padim_in_use
from pipelines.core.records import Precision
from pipelines.imaging.tiling import TileSet

SUBJECT = "padim-inference"
# What a tile costs does not depend on how many were trained on.
_TRAINED_ON = 16
_CALLS, _SETTLING = 15, 3


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Score the same tile: ours from bytes to map with OpenVINO in what versions run in, anomalib's from floats."""
    from benchmarks.plain_anomalib import compile_plain, export_plain, fit_plain, to_float

    tiles = repeat_tiles(draw_tiles(folder / "tiles", _TRAINED_ON), _TRAINED_ON)
    module = fit_plain(tiles)
    path, how = export_plain(module, folder)
    default = compile_plain(path, None)
    tile = to_float(tiles[0])[None]
    precision = default.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    references = {
        "anomalib in torch, float32": _in_torch(module, tile),
        f"anomalib {how}, f32": _in_openvino(compile_plain(path, "f32"), tile.numpy()),
        f"anomalib {how}, default ({precision})": _in_openvino(default, tile.numpy()),
    }
    return compare(_ours(tiles, folder / "ours"), references, effort.resamples)


def compare(ours: Mapping[Precision, Side], references: Mapping[str, Side], resamples: int) -> list[Figure]:
    """Time each of our sides once a round beside all references; a figure for each pair, in milliseconds."""
    seconds = time_sides({**ours, **references}, resamples, calls=_CALLS, settling=_SETTLING)
    milliseconds = {name: [1000 * second for second in found] for name, found in seconds.items()}
    note = f"one tile of {SIDE} x {SIDE}; ours: OpenVINO, statistics at stride 8"
    return [
        ratio_figure(
            *(SUBJECT, f"{name}; ours in {precision}", "ms"),
            ours=milliseconds[precision],
            reference=milliseconds[name],
            note=note,
        )
        for precision in ours
        for name in references
    ]


def _ours(tiles: TileSet, folder: Path) -> dict[Precision, Side]:
    from pipelines.models.openvino.export import export_openvino

    export_openvino(fit_padim_in_use(tiles), SIDE, SIDE, folder)
    return run_in_float(folder, tiles[0][None])


def _in_torch(module: Any, tile: Any) -> Side:
    import torch

    def score() -> object:
        with torch.no_grad():
            return module(tile).anomaly_map

    return score


def _in_openvino(compiled: Any, tile: NDArray[np.float32]) -> Side:
    return lambda: compiled(tile)
