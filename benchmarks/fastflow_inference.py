"""Time of one tile's anomaly map: ours in OpenVINO against anomalib's in torch."""

from pathlib import Path

from benchmarks.alternation import Side, time_sides
from benchmarks.drawn_images import SIDE, draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.exported import run_in_float
from benchmarks.fastflow_plain import BACKBONE, make_ours, make_plain
from benchmarks.figures import Figure, ratio_figure
from benchmarks.in_use import with_colour

SUBJECT = "fastflow-inference"
_CALLS, _SETTLING = 5, 2


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Score the same tile: ours from bytes to map, anomalib's from floats."""
    from benchmarks.plain_anomalib import to_float
    from pipelines.models.openvino.export import export_openvino

    tiles = repeat_tiles(draw_tiles(folder / "tiles", 1), 1)
    tile = tiles[0]
    export_openvino(with_colour(make_ours(), tiles), SIDE, SIDE, folder / "ours")
    ours = run_in_float(folder / "ours", tile[None])
    sides = {**ours, "anomalib": _plain(to_float(tile)[None])}
    seconds = time_sides(sides, effort.resamples, calls=_CALLS, settling=_SETTLING)
    return [
        ratio_figure(
            *(SUBJECT, f"anomalib in torch, float32; ours in {precision}", "ms"),
            ours=[1000 * second for second in seconds[precision]],
            reference=[1000 * second for second in seconds["anomalib"]],
            note=f"one tile of {SIDE} x {SIDE}, {BACKBONE} on both sides; ours: OpenVINO, no border cells",
        )
        for precision in ours
    ]


def _plain(tiles: object) -> Side:
    import torch

    model = make_plain().model.eval()

    def score() -> object:
        with torch.no_grad():
            return model(tiles).anomaly_map

    return score
