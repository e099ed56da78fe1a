"""Stage: fit one algorithm on the training split and export it as a model folder without thresholds."""

import logging
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import ToolError
from pipelines.core.geometry import TilePlan
from pipelines.core.paths import inside
from pipelines.core.records import Label, Split, Strategy
from pipelines.core.results import Start, Trained
from pipelines.data.prepared import PreparedImage, without_anomalies
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.tile_plan import TileSettings, choose_plan
from pipelines.imaging.tiling import TileSet
from pipelines.models.registry import find_algorithm
from pipelines.models.settings import SteppedSettings
from pipelines.training.memory import peak_rss_mb
from pipelines.training.parity import draw_regions
from pipelines.training.precision import Exported, export_agreeing, export_unchecked
from pipelines.training.run_settings import RunSettings

if TYPE_CHECKING:
    from pipelines.models.fitted import Fitted

_VALIDATION_TILES = 200  # more tell no better when to stop
_HELD_OUT = 5

log = logging.getLogger(__name__)


def train(
    algorithm: str,
    prepared: Path,
    images: Sequence[PreparedImage],
    settings: RunSettings,
    folder: Path,
    start: Start | None = None,
    *,
    checked: bool = True,
) -> Trained:
    """Fit an algorithm to the training split's tiles and export it as a model folder without thresholds.

    The validation split's normal images say when to stop; where there are none, every fifth training image stands in
    and is not trained on. PaDiM takes no steps, and all training images. An algorithm that memorises is fitted without
    each of a few images as well, where none is left to calibrate on.

    Args:
        algorithm: Name of a known algorithm.
        prepared: The surface's prepared folder.
        images: Of all splits; those of the calibration and the test split are not looked at.
        settings: The resolved settings of the run.
        folder: The model folder; whatever it holds is removed first.
        start: What another version learnt, to go on from; None trains from nothing.
        checked: Set the export against torch's scores. One that is not, here or in `start`, is not to be registered.

    Returns:
        What was fitted and what it cost: seconds, and peak memory in MB.

    Raises:
        ToolError: If the training split is empty.
        ModelError: If a precision that the settings force does not agree with torch, or `start` cannot be gone on from.
    """
    from pipelines.models.openvino.export import save_state
    from pipelines.training.cross_fit import fit_folds

    started = time.monotonic()
    splits = {split: without_anomalies(images, split) for split in Split}
    if not splits[Split.TRAIN]:
        raise ToolError("the training split holds no image", hint="add normal images, then `knotwatch data update`")
    train_images, validation_images = splits[Split.TRAIN], splits[Split.VALIDATION]
    if _takes_steps(algorithm, settings, start):
        train_images, validation_images = _hold_out(train_images, validation_images)
    plan = choose_tile_plan(algorithm, splits[Split.TRAIN], settings, start)
    most = settings.of(algorithm).max_train_tiles
    tiles = TileSet([inside(prepared, i.file) for i in train_images], plan, max_tiles=most, seed=settings.seed)
    validation = TileSet(
        [inside(prepared, i.file) for i in validation_images], plan, max_tiles=_VALIDATION_TILES, seed=settings.seed
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    unlabelled = start is None and is_unlabelled(images)
    fitted = _fit(algorithm, tiles, validation, settings, start, unlabelled)
    peak = peak_rss_mb()
    if "stopped" in fitted.notes:
        log.info("train %s: %s", algorithm, fitted.notes["stopped"])
    save_state(fitted, folder)
    folds = {} if unlabelled else fit_folds(algorithm, fitted, prepared, images, tiles, settings, folder, start)
    exported = (
        _export_checked(algorithm, fitted.model, tiles, prepared, images, settings, folder)
        if checked and (start is None or start.checked)
        else export_unchecked(algorithm, fitted.model, plan, settings.export, folder)
    )
    seconds = time.monotonic() - started
    log.info("train %s: %d tiles of %d images, %.1f s", algorithm, len(tiles), len(train_images), seconds)
    return Trained(
        algorithm=algorithm,
        folder=str(folder),
        plan=plan,
        tiles=len(tiles),
        seconds=seconds,
        peak_rss_mb=peak,
        precision=exported.precision,
        parity=exported.parity,
        # What is made again says of itself what it was made as.
        notes={**fitted.notes, **(start.notes if start else {}), "export": exported.message},
        false_blocks=settings.unlabelled.false_blocks if unlabelled else None,
        likelihood_gains=fitted.likelihood_gains,
        densities=fitted.densities,
        curves=dict(fitted.curves),
        folds=folds,
    )


def choose_tile_plan(
    algorithm: str, images: Sequence[PreparedImage], settings: RunSettings, start: Start | None = None
) -> TilePlan:
    """Choose the tile plan for images; a version that is taken as it is keeps its own.

    Args:
        algorithm: Name of a known algorithm, whose network's input size counts.
        images: The training split; the median size of their regions decides, unless `start` has one.
        settings: The run's; `tiles`, and for images without labels `unlabelled`, are used.
        start: What is gone on from; the plan is its own where its strategy is `reuse`. None: nothing.

    Returns:
        `fit` shows a region as one tile, `grid` cuts it; sides in model pixels.

    Raises:
        ImageError: If there is no image.
    """
    if start is not None and start.strategy == Strategy.REUSE:
        return start.plan
    sizes = [start.size] if start and start.size else [(i.box.height, i.box.width) for i in images]
    unlabelled = start is None and is_unlabelled(images)
    return choose_plan(tile_settings(algorithm, settings, unlabelled), sizes, find_algorithm(algorithm).input_size)


def is_unlabelled(images: Sequence[PreparedImage]) -> bool:
    """Tell whether nobody said of any training image that it is normal."""
    return all(i.label == Label.UNKNOWN for i in images if i.split == Split.TRAIN)


def tile_settings(algorithm: str, settings: RunSettings, unlabelled: bool) -> TileSettings:
    """Return how tiles are cut: unlabelled images larger, and wider where an algorithm looks at several scales.

    Args:
        algorithm: Name of a known algorithm.
        settings: The run's; not changed.
        unlabelled: Whether nobody said of any training image that it is normal.

    Returns:
        The run's own `tiles` for images with labels, else a copy with sides in pixels raised.
    """
    if not unlabelled:
        return settings.tiles
    wider = find_algorithm(algorithm).unlabelled_tile
    larger = max(settings.tiles.max_side, settings.unlabelled.max_side)
    return settings.tiles.model_copy(update={"tile": wider * settings.tiles.tile, "max_side": larger})


def _takes_steps(algorithm: str, settings: RunSettings, start: Start | None) -> bool:
    steps = start is None or start.strategy in (Strategy.SCRATCH, Strategy.FINETUNE)
    return steps and isinstance(settings.of(algorithm), SteppedSettings)


def _fit(
    algorithm: str,
    tiles: TileSet,
    validation: TileSet,
    settings: RunSettings,
    start: Start | None,
    unlabelled: bool,
) -> "Fitted":
    from pipelines.models.openvino.export import load_state
    from pipelines.training.fitting import adapt, fit, fit_unlabelled

    if start is None:
        return (fit_unlabelled if unlabelled else fit)(algorithm, tiles, validation, settings)
    return adapt(algorithm, start.strategy, tiles, validation, settings, load_state(Path(start.folder)))


def _export_checked(
    algorithm: str,
    model: Any,
    tiles: TileSet,
    prepared: Path,
    images: Sequence[PreparedImage],
    settings: RunSettings,
    folder: Path,
) -> Exported:
    score = settings.of(algorithm).score
    rule = ScoreRule(border_share=score.border_share, top_share=score.top_share)
    regions = partial(draw_regions, prepared, images, tiles.plan, settings.seed)
    return export_agreeing(algorithm, model, tiles, regions, rule, settings.export, folder)


def _hold_out(
    train_images: list[PreparedImage], validation_images: list[PreparedImage]
) -> tuple[list[PreparedImage], list[PreparedImage]]:
    """Where there is no validation split, take every fifth training image for it, and the only one for both."""
    if validation_images or len(train_images) == 1:
        return train_images, validation_images or train_images
    held = train_images[:: _HELD_OUT if len(train_images) >= _HELD_OUT else len(train_images)]
    return [i for i in train_images if i not in held], held
