"""How well a surface's versions detect beside plain anomalib: `python -m benchmarks.detection SURFACE`.

anomalib's own algorithms are trained here on the same tiles, with the same backbone, teacher and number of steps, at
anomalib's learning rates, and score the same test images; of ours, each algorithm's registered version is taken,
as it is exported.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_command
from benchmarks.newest import newest_versions
from benchmarks.plain_anomalib import to_float
from benchmarks.plain_detection import fit_plain_algorithm
from pipelines.core.errors import ModelError, ToolError
from pipelines.core.geometry import TilePlan
from pipelines.core.paths import Project, find_project
from pipelines.core.records import Split
from pipelines.core.surface_settings import read_surface
from pipelines.core.wording import interval_in_words
from pipelines.data.prepared import PreparedImage, read_index, without_anomalies
from pipelines.detector.detector import Detector
from pipelines.detector.scan import RegionScan
from pipelines.imaging.image_score import ScoreRule, image_score
from pipelines.imaging.tiling import Stitcher, TileSet, cut_tiles
from pipelines.metrics.curves import image_auroc
from pipelines.metrics.paired import image_auroc_difference
from pipelines.models.features.backbone import BACKBONES
from pipelines.models.registry import algorithms
from pipelines.tracking.store import Tracking
from pipelines.training.evaluate import ScoredTest, score_test
from pipelines.training.run_settings import RunSettings, resolve_run

# What a version was trained with that its plain counterpart is trained with as well.
_BUDGET = ("backbone", "layers", "features", "batch", "max_steps", "max_train_tiles")
_PLAIN = [name for name in algorithms() if not name.endswith("_dinov2")]
_COLUMNS = ("algorithm", "trained by", "image AUROC", "pixel AUROC", "AUPRO")
_ROUNDS = 1000


def detection(
    surface: Annotated[str, typer.Argument(help="A labelled surface with versions of its current data.")],
    algorithm: Annotated[list[str] | None, typer.Option(help="May be repeated; default: those of anomalib.")] = None,
) -> None:
    """Train anomalib's own algorithms and set the newest versions beside them.

    Example: python -m benchmarks.detection wood-boards --algorithm fastflow
    """
    project = find_project()
    prepared = project.surface(surface).prepared
    images = sorted(read_index(prepared), key=lambda i: i.path)
    train, validation = (without_anomalies(images, split) for split in (Split.TRAIN, Split.VALIDATION))
    test = [i for i in images if i.split == Split.TEST]
    if not validation:
        raise ToolError(f"'{surface}' has no validation split", hint="add normal images: plain quantiles are of these")
    table = Table(*_COLUMNS, title=f"{surface}: {len(test)} test images")
    for name, folder, settings in _find_versions(project, surface, algorithm or _PLAIN):
        detector = Detector(folder)
        plan, own = detector.info.plan, detector.info.algorithm
        most = settings.of(own).max_train_tiles
        tiles = [TileSet([prepared / i.file for i in some], plan, most, settings.seed) for some in (train, validation)]
        plain = _Plain(fit_plain_algorithm(own, *tiles, settings), own, plan, detector.info.score_rule)
        ours, theirs = (_score(d, prepared, test) for d in (detector, cast("Detector", plain)))
        _add_rows(table, name, own, (ours, theirs), plain.scores, settings.seed)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _find_versions(project: Project, surface: str, algorithms: list[str]) -> Iterator[tuple[str, Path, RunSettings]]:
    """Find each algorithm's newest version that was trained on the whole of the current data, and its settings."""
    tracking, own = Tracking(project), read_surface(project, surface)
    versions = newest_versions(project, tracking, surface)
    for algorithm in algorithms:
        if algorithm not in versions:
            raise ModelError(f"no version of {algorithm} of the current data", hint=f"knotwatch retrain {surface}")
        newest = versions[algorithm]
        params = tracking.params(newest.run_id)
        if f"{algorithm}.auxiliary.backbone" in params or params.get(f"{algorithm}.backbone", "lite0") not in (
            *BACKBONES,
            "dinov2",
        ):
            raise ToolError(
                f"version {newest.version} sees features that anomalib's {algorithm} cannot be given here",
                hint=f"retrain '{surface}' on {', '.join(BACKBONES)} alone, or name another --algorithm",
            )
        words = [f"{key}={params[key]}" for name in _BUDGET if (key := f"{algorithm}.{name}") in params]
        settings = resolve_run(project, own, "full", [*words, f"seed={params['seed']}"])
        folder = Path(tracking.folder(surface, newest.version))
        yield f"{surface}/{newest.version}", folder, settings


class _Plain:
    """anomalib's module in a detector's place: an image's score is the highest of its map, as anomalib's own.

    `scores` are what the same maps come to by our rule.
    """

    def __init__(self, module: Any, algorithm: str, plan: TilePlan, rule: ScoreRule) -> None:
        self._module, self._algorithm, self._plan, self._rule = module, algorithm, plan, rule
        self.scores: list[float] = []

    @torch.no_grad()
    def scan_region(self, region: NDArray[np.uint8]) -> RegionScan:
        stitcher = Stitcher(self._plan, *region.shape[:2])
        for tile, position in cut_tiles(region, self._plan):
            stitcher.add(self._module(to_float(tile)[None]).anomaly_map[0, 0].numpy(), position)
        whole = self._lift(stitcher.result())
        self.scores.append(image_score(whole, self._rule))
        return RegionScan(whole, float(whole.max()))

    def is_anomalous(self, _: float) -> bool:
        """Say no of all: a plain module has no threshold."""
        return False

    def _lift(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring a map to numbers that are not negative, in the same order."""
        if self._algorithm == "fastflow":  # minus a likelihood of at most 1, next to 0 where it matters
            return np.asarray(-np.log((-values).clip(1e-38, 1)), np.float32)
        if self._algorithm == "efficientad":
            q = {name: float(value) for name, value in self._module.model.quantiles.items()}
            lowest = sum(q[f"qa_{part}"] / (q[f"qb_{part}"] - q[f"qa_{part}"]) for part in ("st", "ae"))
            return np.asarray((values + 0.05 * lowest).clip(0), np.float32)
        return values


def _score(detector: Detector, prepared: Path, test: list[PreparedImage]) -> ScoredTest:
    with tempfile.TemporaryDirectory() as spool:
        return score_test(detector, prepared, test, Path(spool))


def _add_rows(
    table: Table, name: str, algorithm: str, found: tuple[ScoredTest, ScoredTest], ranked: list[float], seed: int
) -> None:
    """Add a row of each, and how much higher ours ranks, paired over images: as theirs scores, and by our rule."""
    for label, one in zip((f"knotwatch {name}", "anomalib"), found, strict=True):
        pixels, auroc = one.table.metrics(), image_auroc(one.scores, one.anomalous)
        table.add_row(algorithm, label, f"{auroc:.3f}", f"{pixels['pixel_auroc']:.3f}", f"{pixels['aupro']:.3f}")
    ours, theirs = found
    for label, scores in (("difference", theirs.scores), ("the same, both by our image score", np.array(ranked))):
        gain = image_auroc_difference(ours.scores, scores, ours.anomalous, _ROUNDS, seed)
        if gain:
            table.add_row("", label, interval_in_words(gain), "", "")


if __name__ == "__main__":
    run_command(detection)
