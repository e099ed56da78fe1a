"""Stage: what the test split says of a version, on whole images."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.progress import track
from pipelines.core.records import Interval, Label, Split
from pipelines.core.results import Evaluation, ScoredImage
from pipelines.data.prepared import PreparedImage, read_mask, read_region
from pipelines.detector.detector import Detector
from pipelines.detector.scan import Wrap
from pipelines.detector.version import read_drift_reference
from pipelines.imaging.components import draw_regions
from pipelines.metrics.conformal import conformal_threshold
from pipelines.metrics.curves import confusion
from pipelines.metrics.histograms import choose_edges
from pipelines.metrics.intervals import image_intervals, pixel_intervals, recall_intervals
from pipelines.metrics.matches import Match, match_defects
from pipelines.metrics.paired import image_auroc_difference
from pipelines.metrics.pixels import PixelHistograms, PixelTable
from pipelines.training.run_settings import EvaluationSettings

# False-positive rates that recall is told at, beside that of the version's own threshold.
_RATES = (0.01, 0.02, 0.05)
_SAMPLE = 2000  # pixels of each class and image that choose the histograms' bins


class ScoredTest(NamedTuple):
    """Images in the order they were given; `rows` are the numbers of those that `table` counts the pixels of.

    `types` are the names of the defects; the table numbers them from 1 in this order.
    """

    images: tuple[ScoredImage, ...]
    table: PixelTable
    rows: NDArray[np.intp]
    types: tuple[str, ...]

    @property
    def scores(self) -> NDArray[np.float64]:
        return np.array([image.score for image in self.images])

    @property
    def anomalous(self) -> NDArray[np.bool_]:
        """Say which images are labelled anomalous, (images,)."""
        return np.array([image.label == Label.ANOMALOUS for image in self.images], dtype=bool)


class _Pixels(NamedTuple):
    """One image's map, its mask with one number per type, and where pixels count; all (H, W)."""

    map: NDArray[np.float32]
    mask: NDArray[np.uint8]
    valid: NDArray[np.bool_]


def score_test(
    detector: Detector,
    prepared: Path,
    images: Sequence[PreparedImage],
    spool: Path,
    label: str = "evaluate",
    wrap: Wrap | None = None,
) -> ScoredTest:
    """Score images, and count the pixels of those with a mask or without a defect.

    Args:
        detector: The version; scores and maps are on its scale.
        prepared: The surface's prepared folder.
        images: Of any split, in any order.
        spool: Folder for region maps, made where it is absent: N.npy, float32 (H, W), N counted from 0 as in `images`.
        label: Word before the progress bar.
        wrap: Puts a network before each of the version's, such as one that knows tiles already. None: none.

    Returns:
        Scores in the order of `images`; pixels of an anomalous image without a mask are not counted.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    spool.mkdir(parents=True, exist_ok=True)
    scored = tuple(_score_all(detector, prepared, images, spool, label, wrap))
    types = sorted({name for image in images for name in image.defects.values()})
    with_masks = [n for n, i in enumerate(images) if i.mask or i.label == Label.NORMAL]
    table = _count_pixels([(images[n], spool / f"{n}.npy") for n in with_masks], prepared, types)
    return ScoredTest(scored, table, np.array(with_masks, dtype=np.intp), tuple(types))


def _score_all(
    detector: Detector,
    prepared: Path,
    images: Sequence[PreparedImage],
    spool: Path,
    label: str,
    wrap: Wrap | None,
) -> Iterator[ScoredImage]:
    leave_out = bool(detector.info.members)
    for number, image in enumerate(track(images, len(images), label)):
        found = detector.scan_region(read_region(prepared, image), wrap, leave_out=leave_out)
        np.save(spool / f"{number}.npy", found.map)
        yield ScoredImage(
            path=image.path,
            label=image.label,
            score=found.score,
            anomalous=detector.is_anomalous(found.score),
            condition=image.condition,
            defects=tuple(sorted(set(image.defects.values()))),
            without=found.without,
        )


def _read_pixels(image: PreparedImage, spooled: Path, prepared: Path, types: Sequence[str]) -> _Pixels:
    """Place a region's map in its image and give each defect type its number over the whole surface."""
    box = image.box
    whole = np.zeros((image.height, image.width), np.float32)
    whole[box.top : box.bottom, box.left : box.right] = np.load(spooled)
    valid = np.zeros(whole.shape, dtype=bool)
    valid[box.top : box.bottom, box.left : box.right] = True
    numbers = np.zeros(256, np.uint8)
    for value, name in image.defects.items():
        numbers[value] = types.index(name) + 1
    return _Pixels(whole, numbers[read_mask(prepared, image)], valid)


def _count_pixels(images: Sequence[tuple[PreparedImage, Path]], prepared: Path, types: Sequence[str]) -> PixelTable:
    """Read each spooled map twice: a sample fixes the bins, then all pixels are counted."""
    normal, defective = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for image, spooled in images:
        pixels = _read_pixels(image, spooled, prepared, types)
        normal.append(_sample(pixels.map[pixels.valid & (pixels.mask == 0)]))
        defective.append(_sample(pixels.map[pixels.mask > 0]))
    histograms = PixelHistograms(choose_edges(np.concatenate(normal), np.concatenate(defective)))
    for image, spooled in images:
        histograms.add(*_read_pixels(image, spooled, prepared, types))
    return histograms.table()


def _sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.size <= _SAMPLE:
        return values
    return np.asarray(values[np.linspace(0, values.size - 1, _SAMPLE).astype(int)])


log = logging.getLogger(__name__)


def evaluate(
    detector: Detector,
    prepared: Path,
    images: Sequence[PreparedImage],
    settings: EvaluationSettings,
    seed: int,
    spool: Path,
    wrap: Wrap | None = None,
) -> Evaluation:
    """Score the test split and compute every metric that its labels allow.

    Pixel metrics count the region of interest united with the mask (Bergmann et al. 2021 for AUPRO).

    Args:
        detector: The version; scores and maps are on its scale.
        prepared: The surface's prepared folder.
        images: All of the surface; those of other splits are left out.
        settings: `bootstrap` is the number of resamples behind 95 % intervals; 0 gives none.
        seed: Draws the resamples.
        spool: Folder for region maps, for the pages that show them, made where it is absent: N.npy, float32 (H, W), N
            counted from 0 as in the result's images.
        wrap: Puts a network before each of the version's, such as one that knows tiles already. None: none.

    Returns:
        Metrics, images in the order of paths, and notes on what is absent; without test images a note alone.

    Raises:
        ScoreError: If a score or map is not finite.
    """
    started = time.monotonic()
    chosen = sorted((i for i in images if i.split == Split.TEST), key=lambda i: i.path)
    if not chosen:
        return Evaluation(notes=("The test split is empty: metrics are absent, not zero.",))
    found = score_test(detector, prepared, chosen, spool, wrap=wrap)
    scored = found.images
    conditions = np.array([i.condition or "" for i in chosen])
    threshold = detector.info.image_threshold.threshold
    report = _Reporter(found, threshold, _recall_levels(detector), settings.bootstrap, seed)
    groups = sorted(set(conditions)) if len(set(conditions)) > 1 else []
    overall = report.overall(np.ones(len(chosen), dtype=bool))
    result = Evaluation(
        metrics=overall | _outline_figures(detector, prepared, chosen, found, spool),
        per_defect={name: report.for_defect(name, n + 1) for n, name in enumerate(found.types)},
        per_condition={name: report.overall(conditions == name) for name in groups if name},
        member_gains=_member_gains([one.name for one in detector.info.members], found, settings.bootstrap, seed),
        confusion=confusion([s.score for s in scored], report.anomalous, threshold) if _has_labels(scored) else None,
        images=scored,
        notes=_notes(chosen),
        seconds=time.monotonic() - started,
    )
    log.info("evaluate %s: %d images, %.1f s", detector.info.algorithm, len(chosen), result.seconds)
    return result


def _outline_figures(
    detector: Detector, prepared: Path, images: Sequence[PreparedImage], found: ScoredTest, spool: Path
) -> dict[str, Interval]:
    """Set the outlined regions against masks; nothing where no defect with a mask was found."""
    matches: list[Match] = []
    for number, (image, scored) in enumerate(zip(images, found.images, strict=True)):
        if image.mask is None:
            continue
        box, region_map = image.box, np.load(spool / f"{number}.npy")
        regions = detector.find_regions(region_map, anomalous=scored.anomalous)
        defects = detector.trim_regions(region_map, regions, anomalous=scored.anomalous)
        truth = read_mask(prepared, image)[box.top : box.bottom, box.left : box.right] > 0
        matches += match_defects(truth, draw_regions(defects, *region_map.shape) > 0)
    if not matches:
        return {}
    iou, ratio = np.median(np.array(matches), axis=0)
    return {"outline_iou": Interval(value=float(iou)), "outline_area_ratio": Interval(value=float(ratio))}


def _recall_levels(detector: Detector) -> dict[str, float]:
    """Return the version's threshold, and those that its calibration split gives for other rates, if it has one."""
    levels = {"image_recall": detector.info.image_threshold.threshold}
    reference = read_drift_reference(detector.folder)
    if reference is not None and reference.scores:
        found = {rate: conformal_threshold(reference.scores, rate).threshold for rate in _RATES}
        levels |= {f"image_recall_{round(100 * rate)}": level for rate, level in found.items()}
    return levels


def _member_gains(members: Sequence[str], found: ScoredTest, resamples: int, seed: int) -> dict[str, Interval]:
    """Compare the ensemble with itself without each member; nothing where labels are missing, or of a single one."""
    if not all(len(image.without) == len(members) for image in found.images):
        return {}
    gains = {
        name: image_auroc_difference(
            found.scores, [image.without[number] for image in found.images], found.anomalous, resamples, seed
        )
        for number, name in enumerate(members)
    }
    return {name: gain for name, gain in gains.items() if gain is not None}


def _has_labels(scored: Sequence[ScoredImage]) -> bool:
    return any(s.label != Label.UNKNOWN for s in scored)


def _notes(images: Sequence[PreparedImage]) -> tuple[str, ...]:
    labels = {i.label for i in images}
    notes = []
    if Label.ANOMALOUS not in labels:
        notes.append("No defective test image: only false alarms can be measured.")
    elif not any(i.mask for i in images):
        notes.append("No masks: pixel metrics are absent, not zero.")
    return tuple(notes)


class _Reporter:
    """Metrics of any subset of the scored images."""

    def __init__(
        self, found: ScoredTest, threshold: float, levels: Mapping[str, float], resamples: int, seed: int
    ) -> None:
        self.anomalous, self._scores = found.anomalous, found.scores
        self._scored, self._table, self._rows = found.images, found.table, found.rows
        self._threshold, self._levels, self._resamples, self._seed = threshold, levels, resamples, seed

    def overall(self, chosen: NDArray[np.bool_]) -> dict[str, Interval]:
        image = image_intervals(
            self._scores[chosen], self.anomalous[chosen], self._threshold, self._resamples, self._seed
        )
        recall = recall_intervals(self._scores[chosen], self.anomalous[chosen], self._levels)
        pixel = pixel_intervals(self._table, self._resamples, self._seed, images=chosen[self._rows])
        return {**image, **recall, **pixel}

    def for_defect(self, name: str, number: int) -> dict[str, Interval]:
        """Set images that hold the defect against all normals."""
        chosen = ~self.anomalous | np.array([name in s.defects for s in self._scored])
        image = image_intervals(
            self._scores[chosen], self.anomalous[chosen], self._threshold, self._resamples, self._seed
        )
        # Normals are the same for every type, so their figures would only be repeated.
        shown = {k: v for k, v in image.items() if k in ("image_auroc", "image_ap")}
        recall = recall_intervals(self._scores[chosen], self.anomalous[chosen], self._levels)
        return {**shown, **recall, **pixel_intervals(self._table, self._resamples, self._seed, defect=number)}
