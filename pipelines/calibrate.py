"""Stage: give a fitted network its scale, its thresholds and what they promise; write down what was seen."""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.config import DefectSettings, ScoreSettings, SurfaceSettings
from pipelines.defects.promise import hold_for_regions
from pipelines.files import write_whole
from pipelines.imaging.measures import MEASURES, measure_photograph
from pipelines.imaging.scoring import ScoreRule, top_values
from pipelines.imaging.tiling import cut_tiles
from pipelines.loader import CALIBRATION, Calibration, Reference, RegionScan, VersionInfo, scan_region
from pipelines.metrics.calibration import (
    area_estimate,
    conformal_threshold,
    quantile_estimate,
    risk_controlled_threshold,
)
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.peaks import Reach, block_peaks, find_reach, own_scale
from pipelines.metrics.pixels import PixelHistograms
from pipelines.metrics.scale import ScoreScale, fit_scale
from pipelines.models.runtime import TileModel
from pipelines.parity import check_parity, write_parity
from pipelines.prepared import PreparedImage, read_region
from pipelines.progress import track
from pipelines.records import Part, Promise, TilePlan, Trained

_REFERENCES = 4
_FEW = 5  # fewer images than this make a shaky scale
_SAMPLE = 4000  # pixels an image that the map's scale is fitted to

log = logging.getLogger(__name__)


class _Scales(NamedTuple):
    map: ScoreScale
    image: ScoreScale


class _HeldOut(NamedTuple):
    """What the photographs that thresholds are set on came to, on the version's scale.

    `shares` (images, levels) are the shares of each region above `levels`; `measures` has a list for each measure.
    `tops` are the map's values that an image score is the mean of, `peaks` and `medians` are of the maps.
    """

    scores: list[float]
    shares: NDArray[np.float64]
    levels: NDArray[np.float64]
    measures: dict[str, tuple[float, ...]]
    tops: list[NDArray[np.float32]]
    peaks: list[NDArray[np.float64]]
    medians: list[float]


class _Thresholds(NamedTuple):
    """Thresholds and how defects are searched; `level` and `reach` are what is usual of photographs without labels.

    `lowered` is what each photograph's map is divided by when it is scanned.
    """

    image: Promise
    pixel: Promise
    defects: DefectSettings
    lowered: list[float]
    level: float | None = None
    reach: Reach | None = None


def calibrate(
    trained: Trained,
    prepared: Path,
    images: Sequence[PreparedImage],
    surface: str,
    settings: SurfaceSettings,
    score: ScoreSettings,
    data_version: str,
) -> VersionInfo:
    """Fit the scale on the select part, the thresholds on the calibrate part, and store reference tiles.

    Both parts hold normals only. Where one is empty (all labels unknown, or too few images), the train part stands
    in: a scale needs no promise, but thresholds taken from it are an estimate and marked as such. `score` says how
    the algorithm's maps become image scores. Scores and measures of the calibrate part are kept as calibration.json:
    what drift is measured against later.

    Raises:
        ModelError: where the exported network does not judge as the fitted one does.
    """
    started = time.monotonic()
    folder = Path(trained.folder)
    model = TileModel(folder, trained.precision)
    rule = ScoreRule(border_share=score.border_share, top_share=score.top_share)
    parts = {part: [i for i in images if i.part == part] for part in Part}
    select = parts[Part.SELECT] or parts[Part.TRAIN]
    if len(select) < _FEW:
        log.warning("calibrate %s: the scale rests on %d images; more normals steady it", surface, len(select))
    scales = _fit_scales(scan_region(model, trained.plan, rule, r) for r in _regions(prepared, select, "scale"))
    estimate = not parts[Part.CALIBRATE]
    held_out = parts[Part.CALIBRATE] or parts[Part.TRAIN]
    found = _score_held_out(model, trained.plan, rule, scales, _regions(prepared, held_out, "calibrate"))
    if trained.false_blocks is not None:
        limits = _estimate_unlabelled(found, scales, trained.false_blocks, settings)
    elif estimate:
        limits = _estimate(found, settings)
    else:

        def scan_again(number: int) -> NDArray[np.float32]:
            return scales.map.apply(scan_region(model, trained.plan, rule, read_region(prepared, held_out[number])).map)

        limits = _promise(found, settings, scan_again)
    if trained.parity:
        check_parity(trained.parity, limits.image.threshold * scales.image.divisor)
        write_parity(folder, trained.parity)
    info = VersionInfo(
        surface=surface,
        algorithm=trained.algorithm,
        data_version=data_version,
        precision=trained.precision,
        region=settings.region,
        max_megapixels=settings.validation.max_megapixels,
        plan=trained.plan,
        score_rule=rule,
        map_divisor=scales.map.divisor,
        image_divisor=scales.image.divisor,
        image_threshold=limits.image,
        pixel_threshold=limits.pixel,
        defects=limits.defects,
        usual_level=limits.level,
        usual_reach=limits.reach,
        references=_store_references(model, trained, prepared, select, folder / "reference"),
    )
    # Scores of images that were trained on are lower than those of new ones: nothing can be compared with them.
    scores = () if estimate else tuple(s / low for s, low in zip(found.scores, limits.lowered, strict=True))
    seen = Calibration(scores=scores, measures=found.measures)
    write_whole(folder / CALIBRATION, seen.model_dump_json(indent=1) + "\n")
    write_whole(folder / "model.json", info.model_dump_json(indent=1) + "\n")
    log.info("calibrate %s: %d images, %.1f s", trained.algorithm, len(held_out), time.monotonic() - started)
    return info


def _regions(prepared: Path, images: Sequence[PreparedImage], label: str) -> Iterator[NDArray[np.uint8]]:
    for image in track(images, len(images), label):
        yield read_region(prepared, image)


def _fit_scales(scans: Iterable[RegionScan]) -> _Scales:
    """Fit both scales in one pass; the map's from an even sample of each image's pixels."""
    scores, pixels = [], []
    for scan in scans:
        scores.append(scan.score)
        flat = scan.map.ravel()
        pixels.append(flat[np.linspace(0, flat.size - 1, min(_SAMPLE, flat.size)).astype(int)])
    return _Scales(fit_scale(np.concatenate(pixels)), fit_scale(scores))


def _score_held_out(
    model: TileModel, plan: TilePlan, rule: ScoreRule, scales: _Scales, regions: Iterable[NDArray[np.uint8]]
) -> _HeldOut:
    scores: list[float] = []
    measured, tops, peaks, medians = [], [], [], []
    histograms = PixelHistograms(choose_edges([], []))
    for region in regions:
        scan = scan_region(model, plan, rule, region)
        scaled = scales.map.apply(scan.map)
        scores.append(scan.score / scales.image.divisor)
        histograms.add(scaled, np.zeros(scaled.shape, np.uint8), np.ones(scaled.shape, dtype=bool))
        measured.append(measure_photograph(region))
        tops.append(top_values(scaled, rule))
        peaks.append(block_peaks(scaled))
        medians.append(float(np.median(scaled)))
    measures = {name: tuple(getattr(m, name) for m in measured) for name in MEASURES}
    return _HeldOut(scores, *histograms.table().exceedance(), measures, tops, peaks, medians)


def _promise(
    found: _HeldOut, settings: SurfaceSettings, scan_again: Callable[[int], NDArray[np.float32]]
) -> _Thresholds:
    asked = settings.policy
    image = conformal_threshold(found.scores, asked.false_alarm_rate)
    pixel = risk_controlled_threshold(found.shares, found.levels, asked.marked_area_rate)
    anomalous = np.array(found.scores) > image.threshold
    pixel = hold_for_regions(pixel, found.shares, found.levels, anomalous, scan_again, asked.defects)
    return _Thresholds(image, pixel, asked.defects, [1.0] * len(found.scores))


def _estimate(found: _HeldOut, settings: SurfaceSettings) -> _Thresholds:
    asked = settings.policy
    image = quantile_estimate(found.scores, asked.false_alarm_rate)
    pixel = area_estimate(found.shares, found.levels, asked.marked_area_rate)
    return _Thresholds(image, pixel, asked.defects, [1.0] * len(found.scores))


def _estimate_unlabelled(
    found: _HeldOut, scales: _Scales, false_blocks: float, settings: SurfaceSettings
) -> _Thresholds:
    """Take how high sound surface reaches from the lower part of each map; image scores are those of maps cut there."""
    asked = settings.policy
    reach = find_reach(found.peaks, false_blocks)
    lowered = [own_scale(peaks, reach) for peaks in found.peaks]
    to_images = scales.map.divisor / scales.image.divisor
    cut = [np.minimum(top / scale, reach.level) for top, scale in zip(found.tops, lowered, strict=True)]
    image = quantile_estimate([float(top.mean()) * to_images for top in cut], asked.false_alarm_rate)
    places = np.searchsorted(found.levels, reach.level * np.array(lowered)).clip(max=found.levels.size - 1)
    marked = float(found.shares[np.arange(places.size), places].mean())
    pixel = Promise(
        threshold=reach.level, asked=asked.marked_area_rate, rate=marked, images=len(lowered), estimate=True
    )
    # The threshold lies where sound surface ends already: no photograph is searched more closely.
    defects = asked.defects.model_copy(update={"anomalous": 1.0})
    return _Thresholds(image, pixel, defects, lowered, max(found.medians), reach)


def _store_references(
    model: TileModel, trained: Trained, prepared: Path, images: Sequence[PreparedImage], folder: Path
) -> tuple[Reference, ...]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stored = []
    for number, image in enumerate(images[:_REFERENCES]):
        tile = _first_tile(read_region(prepared, image), trained)
        file = f"{number}.png"
        Image.fromarray(tile).save(folder / file)
        found = model.infer(tile[None])[0]
        stored.append(Reference(file=file, mean=float(found.mean()), peak=float(found.max())))
    return tuple(stored)


def _first_tile(region: NDArray[np.uint8], trained: Trained) -> NDArray[np.uint8]:
    tile, _ = next(iter(cut_tiles(region, trained.plan)))
    return tile
