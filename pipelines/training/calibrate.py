"""Stage: give a fitted network its scale, its thresholds and what they guarantee; write down what was seen."""

import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.files import write_whole
from pipelines.core.progress import track
from pipelines.core.records import Label, Split
from pipelines.core.results import Trained
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.data.prepared import PreparedImage, read_region, without_anomalies
from pipelines.detector.cache import CrossFitted, Wraps, wrap_for
from pipelines.detector.members import open_parts
from pipelines.detector.scan import Part, RegionScan, Wrap, scan_parts
from pipelines.detector.version import CALIBRATION, SCHEMA, DriftReference, Member, Reference, VersionInfo
from pipelines.imaging.image_score import ScoreRule, top_values
from pipelines.imaging.measures import MEASURES, measure_image
from pipelines.imaging.tiling import cut_tiles, subsample
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.normalization import block_peaks, fit_scale
from pipelines.metrics.pixels import PixelHistograms
from pipelines.models.registry import find_algorithm
from pipelines.models.settings import ScoreSettings
from pipelines.training.parity import check_parity, write_parity
from pipelines.training.thresholds import HeldOutScores, Scales, set_thresholds

_REFERENCES = 4
_FEW = 5  # fewer images than this make a shaky scale
_MOST_SCALED = 200  # training images that the scale is fitted to: the thresholds look at all of them anyway
_SAMPLE = 4000  # pixels an image that the map's scale is fitted to

_Seen = tuple[NDArray[np.uint8], RegionScan]

log = logging.getLogger(__name__)


def calibrate(  # noqa: PLR0913, PLR0917 - a stage is handed all that it depends on
    trained: Trained,
    prepared: Path,
    images: Sequence[PreparedImage],
    surface: str,
    settings: SurfaceSettings,
    score: ScoreSettings,
    data_version: str,
    wrap: Wraps = None,
) -> VersionInfo:
    """Fit the scale on the validation split, the thresholds on the calibration split, and store reference tiles.

    Labelled anomalies of the validation split do not count. Where one of the two is empty (all labels unknown, or too
    few images), the training split stands in, for the scale at most 200 images spread over it: a scale needs no
    guarantee, but thresholds taken from it are an in-sample threshold and marked as such. An algorithm that memorises
    images is then shown them mirrored, left for right; or each of them is judged by a network that does not know it.
    Where normal images are among these, thresholds hold as those of a calibration split do: a bank that lacks an image
    is never closer to another than one that does not (docs/decisions/0058). Scores and measures of what calibrated are
    kept as calibration.json: what drift is measured against later.

    Args:
        trained: What `train` returned; model.json, calibration.json and reference/ are written into its folder.
        prepared: The surface's prepared folder.
        images: Its images of all splits; those of the test split are not looked at.
        surface: Name that is written into model.json.
        settings: The surface's; region, limits and policy (false-positive rate, flagged area) are used.
        score: How the algorithm's maps become image scores.
        data_version: Hash of the data, 16 hex digits, that is written into model.json.
        wrap: Puts a network before each of the version's, such as one that knows tiles already, or, for images of the
            training split, one that does not know them in its place. None: none.

    Returns:
        What model.json holds: thresholds are on the version's own scale.

    Raises:
        ModelError: If the exported network does not judge as the fitted one does.
        MetricError: If maps of the validation split are not finite, or 0 everywhere: they give no scale.
    """
    started = time.monotonic()
    folder = Path(trained.folder)
    rule = ScoreRule(border_share=score.border_share, top_share=score.top_share)
    splits = {split: without_anomalies(images, split) for split in Split}
    validation = splits[Split.VALIDATION] or subsample(splits[Split.TRAIN], _MOST_SCALED)
    if len(validation) < _FEW:
        log.warning("calibrate %s: the scale rests on %d images; more normals steady it", surface, len(validation))
    held_out, own = (True, None) if isinstance(wrap, CrossFitted) else (False, wrap)
    told = [i for i in splits[Split.TRAIN] if i.label == Label.NORMAL] if held_out else []
    calibration = splits[Split.CALIBRATION] or told
    in_sample = not calibration
    memorises = any(find_algorithm(name).memorises for name in trained.members or (trained.algorithm,))
    mirrored = memorises and not splits[Split.VALIDATION] and not held_out
    members = tuple(Member(name=name, divisor=1) for name in trained.members)
    parts = open_parts(folder, members, trained.plan, trained.precision)
    if members:
        weights = list(trained.members.values())
        parts = _balance(parts, weights, rule, _regions(prepared, validation, "members", mirrored=mirrored), own)
        members = tuple(Member(name=one.name, divisor=p.divisor) for one, p in zip(members, parts, strict=True))
    look = _Look(prepared, parts, rule, wrap)
    scales = _fit_scales(scan for _, scan in look.at_all(validation, "scale", mirrored=mirrored))
    looked_at = calibration or splits[Split.TRAIN]
    mirrored = memorises and in_sample and not held_out
    found = _score_held_out(look.at_all(looked_at, "calibration", mirrored=mirrored), rule, scales)
    again = None if in_sample else lambda n: scales.map.apply(look.at(looked_at[n])[1].map)
    limits = set_thresholds(found, scales, settings.policy, trained.false_blocks, again)
    if trained.parity:
        check_parity(trained.parity, limits.image.threshold * scales.image.divisor)
        write_parity(folder, trained.parity)
    info = VersionInfo(
        schema_version=SCHEMA if trained.members else 1,
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
        normal_peak=limits.normal_peak,
        usual_pixels=max((i.width * i.height for i in splits[Split.TRAIN] or images), default=None),
        # Members have reference tiles of their own.
        references=() if trained.members else _store_references(parts[0], prepared, validation, folder / "reference"),
        members=members,
    )
    # Scores of images that were trained on are lower than those of new ones: nothing can be compared with them.
    scores = () if in_sample else tuple(s / low for s, low in zip(found.scores, limits.image_scale, strict=True))
    seen = DriftReference(scores=scores, measures=found.measures)
    write_whole(folder / CALIBRATION, seen.model_dump_json(indent=1) + "\n")
    write_whole(folder / "model.json", info.model_dump_json(indent=1) + "\n")
    log.info("calibrate %s: %d images, %.1f s", trained.algorithm, len(looked_at), time.monotonic() - started)
    return info


class _Look(NamedTuple):
    """How an image is looked at: by the version's own network, or by one that does not know it."""

    prepared: Path
    parts: Sequence[Part]
    rule: ScoreRule
    wrap: Wraps

    def at(self, image: PreparedImage, *, mirrored: bool = False) -> _Seen:
        """Return an image's region of interest (H, W, 3) and what it comes to."""
        region = _read(self.prepared, image, mirrored=mirrored)
        return region, scan_parts(self.parts, self.rule, region, wrap_for(self.wrap, image))

    def at_all(self, images: Sequence[PreparedImage], label: str, *, mirrored: bool) -> Iterator[_Seen]:
        for image in track(images, len(images), label):
            yield self.at(image, mirrored=mirrored)


def _regions(
    prepared: Path, images: Sequence[PreparedImage], label: str, *, mirrored: bool = False
) -> Iterator[NDArray[np.uint8]]:
    for image in track(images, len(images), label):
        yield _read(prepared, image, mirrored=mirrored)


def _read(prepared: Path, image: PreparedImage, *, mirrored: bool) -> NDArray[np.uint8]:
    region = read_region(prepared, image)
    return np.ascontiguousarray(region[:, ::-1]) if mirrored else region


def _balance(
    parts: Sequence[Part],
    weights: Sequence[float],
    rule: ScoreRule,
    regions: Iterable[NDArray[np.uint8]],
    wrap: Wrap | None,
) -> tuple[Part, ...]:
    """Bring the maps of an ensemble's members to one scale: the median score of normal images is each one's weight.

    A median, because the tail of a member's normal scores says nothing of how good it is: of four surfaces the best
    member had the longest on one, the worst on another.
    """
    scores = [[scan_parts([part], rule, region, wrap).score for part in parts] for region in regions]
    return tuple(
        part._replace(divisor=fit_scale(found, quantile=0.5).divisor / weight)
        for part, weight, found in zip(parts, weights, np.array(scores).T, strict=True)
    )


def _fit_scales(scans: Iterable[RegionScan]) -> Scales:
    """Fit both scales in one pass; the map's from an even sample of each image's pixels."""
    scores, pixels = [], []
    for scan in scans:
        scores.append(scan.score)
        flat = scan.map.ravel()
        pixels.append(flat[np.linspace(0, flat.size - 1, min(_SAMPLE, flat.size)).astype(int)])
    return Scales(fit_scale(np.concatenate(pixels)), fit_scale(scores))


def _score_held_out(looks: Iterable[_Seen], rule: ScoreRule, scales: Scales) -> HeldOutScores:
    scores: list[float] = []
    measured, tops, peaks, medians = [], [], [], []
    histograms = PixelHistograms(choose_edges([], []))
    for region, seen in looks:
        scaled = scales.map.apply(seen.map)
        scores.append(seen.score / scales.image.divisor)
        histograms.add(scaled, np.zeros(scaled.shape, np.uint8), np.ones(scaled.shape, dtype=bool))
        measured.append(measure_image(region))
        tops.append(top_values(scaled, rule))
        peaks.append(block_peaks(scaled))
        medians.append(float(np.median(scaled)))
    measures = {name: tuple(getattr(m, name) for m in measured) for name in MEASURES}
    return HeldOutScores(scores, *histograms.table().exceedance(), measures, tops, peaks, medians)


def _store_references(
    part: Part, prepared: Path, images: Sequence[PreparedImage], folder: Path
) -> tuple[Reference, ...]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stored = []
    for number, image in enumerate(images[:_REFERENCES]):
        tile, _ = next(iter(cut_tiles(read_region(prepared, image), part.plan)))
        file = f"{number}.png"
        Image.fromarray(tile).save(folder / file)
        found = part.network.infer(tile[None])[0]
        stored.append(Reference(file=file, mean=float(found.mean()), peak=float(found.max())))
    return tuple(stored)
