"""A whole image: what cutting and stitching add to the tiles' own time, and what a larger one takes of memory."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.alternation import time_sides
from benchmarks.drawn_images import SIDE, draw_slice, draw_tiles, plan_slice, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.figures import Figure, ratio_figure
from benchmarks.fresh_process import peak_mb
from benchmarks.in_use import fit_padim_in_use
from pipelines.core.geometry import TilePlan
from pipelines.detector.scan import scan_region
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.tiling import cut_tiles
from pipelines.models.openvino.runtime import TileModel

SUBJECT = "inspect-large"
_TRAINED_ON = 16
_MEGAPIXELS = 200.0


def scan_file(model: str, plan: str, source_image: str) -> None:
    """Decode and scan an image; runs in a process of its own."""
    image = decode_image(Path(source_image).read_bytes(), _MEGAPIXELS).image
    scan_region(TileModel(Path(model)), TilePlan.model_validate_json(plan), ScoreRule(), image)


def train_model(folder: Path) -> None:
    """Fit and export a model of grid tiles to `folder`."""
    from pipelines.models.openvino.export import export_openvino

    tiles = repeat_tiles(draw_tiles(folder / "tiles", _TRAINED_ON), _TRAINED_ON)
    export_openvino(fit_padim_in_use(tiles), SIDE, SIDE, folder)


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Scan a drawn slice in time, then it and one twice as tall in memory."""
    model, image, plan = folder / "model", draw_slice(), plan_slice()
    train_model(model)
    return [_time(effort, model, image, plan), _weigh(folder, model, image, plan)]


def _time(effort: Effort, model: Path, image: NDArray[np.uint8], plan: TilePlan) -> Figure:
    runtime = TileModel(model)
    tiles = [tile[None] for tile, _ in cut_tiles(image, plan)]
    sides = {
        "scan": lambda: scan_region(runtime, plan, ScoreRule(), image),
        "tiles": lambda: [runtime.infer(tile) for tile in tiles],
    }
    # The first scan settles both.
    scan_region(runtime, plan, ScoreRule(), image)
    seconds = time_sides(sides, effort.resamples)
    return ratio_figure(
        SUBJECT,
        f"its {len(tiles)} tiles' inference alone",
        "s",
        ours=seconds["scan"],
        reference=seconds["tiles"],
        note=f"{image.shape[1]} x {image.shape[0]} at scale {plan.scale:.2f}, decoding not counted",
    )


def _weigh(folder: Path, model: Path, image: NDArray[np.uint8], plan: TilePlan) -> Figure:
    peaks = []
    for name, source_image in (("one", image), ("tall", np.concatenate([image, image[::-1]]))):
        file = folder / f"{name}.jpg"
        Image.fromarray(source_image).save(file, quality=95)
        peaks.append(peak_mb(f"{__name__}:scan_file", str(model), plan.model_dump_json(), str(file)))
    return ratio_figure(
        f"{SUBJECT}, memory",
        "peak of the image; ours: one twice as tall",
        "MB",
        ours=[peaks[1]],
        reference=[peaks[0]],
        note=f"{image.nbytes / 2**20:.0f} MB of pixels more, decoding counted",
    )
