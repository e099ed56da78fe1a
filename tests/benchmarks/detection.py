"""How well a surface's versions detect beside plain anomalib: `python -m tests.benchmarks.detection SURFACE`.

anomalib's own algorithms are trained here on the same tiles, with the same backbone, teacher and number of steps, and
score the same test photographs; of ours, each algorithm's registered version is taken, as it is exported.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from flows.origins import Origin, find_origins
from pipelines.config import read_surface
from pipelines.errors import KnotwatchError
from pipelines.imaging.tiling import Stitcher, TileSet, cut_tiles
from pipelines.loader import Detector, RegionScan
from pipelines.metrics.image import image_auroc
from pipelines.metrics.paired import image_auroc_difference
from pipelines.paths import find_project
from pipelines.prepared import PreparedImage, read_index
from pipelines.records import Algorithm, Part
from pipelines.run_settings import resolve_run
from pipelines.scored import ScoredTest, score_test
from pipelines.tracking.store import Tracking
from tests.benchmarks.plain_anomalib import to_float
from tests.benchmarks.plain_detection import fit_plain_algorithm

_COLUMNS = ("algorithm", "trained by", "image AUROC", "pixel AUROC", "AUPRO")
_ROUNDS = 1000


def detection(
    surface: Annotated[str, typer.Argument(help="A labelled surface with registered versions.")],
    algorithm: Annotated[list[Algorithm] | None, typer.Option(help="May be repeated; default: all three.")] = None,
    profile: Annotated[str, typer.Option(help="The profile that the versions were trained with.")] = "full",
) -> None:
    """Train anomalib's own algorithms and set the surface's versions beside them.

    Example: python -m tests.benchmarks.detection wood-boards --algorithm fastflow
    """
    project = find_project()
    prepared = project.surface(surface).prepared
    images = sorted(read_index(prepared), key=lambda i: i.path)
    test = [i for i in images if i.part == Part.TEST]
    table = Table(
        "algorithm", "trained by", "image AUROC", "pixel AUROC", "AUPRO", title=f"{surface}, {len(test)} test"
    )
    for origin in find_origins(Tracking(project), surface, algorithm or list(Algorithm)):
        settings = resolve_run(project, read_surface(project, surface), profile, list(origin.structure))
        most = settings.of(origin.algorithm).max_train_tiles
        tiles, select = (
            TileSet([prepared / i.file for i in images if i.part == part], origin.plan, most, settings.seed)
            for part in (Part.TRAIN, Part.SELECT)
        )
        ours = _score(Detector(Path(origin.folder)), prepared, test)
        plain = fit_plain_algorithm(origin.algorithm, tiles, select, settings)
        theirs = _score(cast("Detector", _Plain(plain, origin)), prepared, test)
        _add_rows(table, origin, ours, theirs, settings.seed)
        Console(width=None if sys.stdout.isatty() else 120).print(table)


class _Plain:
    """anomalib's module in a detector's place: an image's score is the highest of its map, as anomalib's own."""

    def __init__(self, module: Any, origin: Origin) -> None:
        self._module, self._plan, self._algorithm = module, origin.plan, origin.algorithm

    @torch.no_grad()
    def scan_region(self, region: NDArray[np.uint8]) -> RegionScan:
        stitcher = Stitcher(self._plan, *region.shape[:2])
        scores = []
        for tile, position in cut_tiles(region, self._plan):
            found = self._module(to_float(tile)[None])
            scores.append(float(found.pred_score))
            stitcher.add(_lift(found.anomaly_map[0, 0].numpy(), self._algorithm), position)
        return RegionScan(stitcher.result(), max(scores))

    def is_anomalous(self, _: float) -> bool:
        """Say no of all: a plain module has no threshold."""
        return False


def _lift(values: NDArray[np.float32], algorithm: Algorithm) -> NDArray[np.float32]:
    """Bring a map to numbers that are not negative, in the same order."""
    if algorithm == Algorithm.FASTFLOW:  # minus a likelihood of at most 1
        return np.asarray(-np.log((-values).clip(1e-38, 1)), np.float32)
    # EfficientAD's lie above minus a tenth of a few spreads of sound tiles.
    return values + np.float32(10) if algorithm == Algorithm.EFFICIENTAD else values


def _score(detector: Detector, prepared: Path, test: list[PreparedImage]) -> ScoredTest:
    with tempfile.TemporaryDirectory() as spool:
        return score_test(detector, prepared, test, Path(spool))


def _add_rows(table: Table, origin: Origin, ours: ScoredTest, theirs: ScoredTest, seed: int) -> None:
    """Add a row of each and one of the difference, paired over photographs."""
    for name, found in ((f"knotwatch {origin.name}", ours), ("anomalib", theirs)):
        pixels = found.table.metrics()
        auroc = image_auroc(found.scores, found.anomalous)
        table.add_row(origin.algorithm, name, f"{auroc:.3f}", f"{pixels['pixel_auroc']:.3f}", f"{pixels['aupro']:.3f}")
    gain = image_auroc_difference(ours.scores, theirs.scores, ours.anomalous, _ROUNDS, seed)
    if gain and gain.low is not None and gain.high is not None:
        table.add_row("", "difference", f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})", "", "")


if __name__ == "__main__":
    try:
        typer.run(detection)
    except KnotwatchError as error:
        Console(stderr=True).print(f"Error: {error}", markup=False)
        sys.exit(error.exit_code)
