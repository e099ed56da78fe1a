"""Stage: calibrate an exported network; where it then disagrees with the fitted one, in the next safer precision."""

import logging
import shutil
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from pipelines.core.errors import ParityError
from pipelines.core.records import Precision
from pipelines.core.results import Trained
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.detector.cache import Wraps
from pipelines.detector.version import VersionInfo
from pipelines.imaging.image_score import ScoreRule
from pipelines.models.openvino.quantize import move_ir
from pipelines.models.openvino.runtime import TileModel, machine_precisions
from pipelines.models.registry import find_algorithm
from pipelines.training.calibrate import calibrate
from pipelines.training.parity import ParityRegion, draw_regions, score_regions
from pipelines.training.precision import UNROUNDED
from pipelines.training.run_settings import RunSettings

log = logging.getLogger(__name__)


def calibrate_agreeing(  # noqa: PLR0913, PLR0917 - a stage is handed all that it depends on
    trained: Trained,
    prepared: Path,
    images: Sequence[PreparedImage],
    surface: str,
    own: SurfaceSettings,
    settings: RunSettings,
    data_version: str,
    wrap: Wraps = None,
) -> tuple[Trained, VersionInfo]:
    """Calibrate a fitted network in the fastest precision that agrees with torch at the threshold it is given.

    The precision was chosen before there was a threshold. Where `export.precision` is `auto`, one that disagrees at the
    version's own is left for the next less rounded one.

    Args:
        trained: What `train` returned; its folder is completed.
        prepared: The surface's prepared folder.
        images: Its images of all splits; those of the test split are not looked at.
        surface: Name that is written into model.json.
        own: The surface's settings.
        settings: The run's; `seed`, `export.precision` and how maps become scores are used.
        data_version: Hash of the data, 16 hex digits, that is written into model.json.
        wrap: Puts a network before each of the version's, or in its place, by image. None: none.

    Returns:
        The fit, with the precision that it is to be run with and how that agrees, and what model.json holds.

    Raises:
        ParityError: If a precision that the settings force disagrees, or float32 does.
        MetricError: If maps of the validation split give no scale.
    """
    score = settings.score_of(trained.algorithm)
    rule = ScoreRule(border_share=score.border_share, top_share=score.top_share)
    while True:
        try:
            info = calibrate(trained, prepared, images, surface, own, score, data_version, wrap)
        except ParityError as error:
            safer = _next_safer(trained.precision, trained.algorithm)
            if settings.export.forced or safer is None:
                raise
            log.warning("export %s: %s: %s; %s is taken", trained.algorithm, trained.precision, error.problem, safer)
            trained = _take(trained, safer, draw_regions(prepared, images, trained.plan, settings.seed), rule)
        else:
            shutil.rmtree(Path(trained.folder) / UNROUNDED, ignore_errors=True)
            return trained, info


def _next_safer(precision: Precision, algorithm: str) -> Precision | None:
    possible = {*machine_precisions(), Precision.F32} & {*find_algorithm(algorithm).precisions, Precision.F32}
    order = list(Precision)
    less_rounded = [p for p in order[: order.index(precision)] if p in possible]
    return less_rounded[-1] if less_rounded else None


def _take(trained: Trained, precision: Precision, regions: Iterable[ParityRegion], rule: ScoreRule) -> Trained:
    """Return the fit in a less rounded precision, set against the scores that torch gave the same regions."""
    folder = Path(trained.folder)
    if (folder / UNROUNDED).is_dir():
        move_ir(folder / UNROUNDED, folder)
        (folder / UNROUNDED).rmdir()
    known = islice(regions, len(trained.parity.torch) if trained.parity else None)
    scored = score_regions(TileModel(folder, precision), trained.plan, rule, known, f"parity, {precision}")
    parity = trained.parity.model_copy(update={"exported": scored.scores}) if trained.parity else None
    export = f"{precision}; {trained.precision} disagreed at the version's own threshold"
    notes = {**trained.notes, "export": export}
    return trained.model_copy(update={"precision": precision, "parity": parity, "notes": notes})
