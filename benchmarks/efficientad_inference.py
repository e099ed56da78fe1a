"""Time of one tile's anomaly map by EfficientAD, in each precision, against anomalib's in torch."""

from pathlib import Path
from typing import Any

from benchmarks.alternation import Side, time_sides
from benchmarks.drawn_images import SIDE, draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.figures import Figure, ratio_figure
from benchmarks.in_use import with_colour
from benchmarks.plain_anomalib import to_float
from pipelines.core.records import Precision
from pipelines.imaging.tiling import TileSet

SUBJECT = "efficientad-inference"
_CALLS, _SETTLING = 3, 1


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Score the same tile with the bundled teacher's size on both sides; weights do not change the time."""
    from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel

    from pipelines.models.efficientad.teacher import load_teacher
    from pipelines.models.openvino.runtime import machine_precisions

    teacher, _ = load_teacher("bundled")
    tiles = repeat_tiles(draw_tiles(folder / "tiles", 8), 8)
    plain = EfficientAdModel(teacher_out_channels=int(teacher.conv4.weight.shape[0])).eval()
    theirs = _in_torch(plain, to_float(tiles[0])[None])
    exported = _export(teacher, tiles, folder)
    figures = []
    for precision in machine_precisions():
        ours = _in_openvino(exported[precision], precision, tiles[0][None])
        seconds = time_sides({"ours": ours, "theirs": theirs}, effort.resamples, calls=_CALLS, settling=_SETTLING)
        milliseconds = {name: [1000 * second for second in found] for name, found in seconds.items()}
        note = f"one tile of {SIDE} x {SIDE}; ours: OpenVINO in {precision}"
        against = f"anomalib in torch, float32; ours in {precision}"
        figures.append(
            ratio_figure(SUBJECT, against, "ms", ours=milliseconds["ours"], reference=milliseconds["theirs"], note=note)
        )
    return figures


def _export(teacher: Any, tiles: TileSet, folder: Path) -> dict[Precision, Path]:
    from pipelines.models.efficientad.model import TileEfficientAdModel
    from pipelines.models.openvino.export import export_openvino
    from pipelines.models.openvino.quantize import quantise

    export_openvino(with_colour(TileEfficientAdModel(teacher), tiles), SIDE, SIDE, folder / "float")
    (folder / "int8").mkdir()
    quantise(folder / "float", [tiles[i] for i in range(len(tiles))], folder / "int8")
    return {Precision.F32: folder / "float", Precision.BF16: folder / "float", Precision.INT8: folder / "int8"}


def _in_torch(model: Any, tile: Any) -> Side:
    import torch

    def score() -> object:
        with torch.no_grad():
            return model(tile).anomaly_map

    return score


def _in_openvino(folder: Path, precision: Precision, tile: Any) -> Side:
    from pipelines.models.openvino.runtime import TileModel

    model = TileModel(folder, precision)
    return lambda: model.infer(tile)
