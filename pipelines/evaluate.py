"""Stage: what the test part says of a version, on whole photographs."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.loader import Detector
from pipelines.metrics.image import confusion
from pipelines.metrics.intervals import image_intervals, pixel_intervals
from pipelines.prepared import PreparedImage
from pipelines.records import Evaluation, Interval, Label, Part, ScoredImage
from pipelines.run_settings import EvaluationSettings
from pipelines.scored import ScoredTest, score_test

log = logging.getLogger(__name__)


def evaluate(
    detector: Detector,
    prepared: Path,
    images: Sequence[PreparedImage],
    settings: EvaluationSettings,
    seed: int,
    spool: Path,
) -> Evaluation:
    """Score the test part and compute every metric that its labels allow.

    Region maps are left in `spool` as NAME.npy, numbered as the result's images, for the pages that show them.
    Pixel metrics count the region of interest united with the mask (Bergmann et al. 2021 for AUPRO).
    """
    started = time.monotonic()
    chosen = sorted((i for i in images if i.part == Part.TEST), key=lambda i: i.path)
    if not chosen:
        return Evaluation(notes=("The test part is empty: metrics are absent, not zero.",))
    found = score_test(detector, prepared, chosen, spool)
    scored = found.images
    conditions = np.array([i.condition or "" for i in chosen])
    threshold = detector.info.image_threshold.threshold
    report = _Reporter(found, threshold, settings.bootstrap, seed)
    groups = sorted(set(conditions)) if len(set(conditions)) > 1 else []
    result = Evaluation(
        metrics=report.overall(np.ones(len(chosen), dtype=bool)),
        per_defect={name: report.for_defect(name, n + 1) for n, name in enumerate(found.types)},
        per_condition={name: report.overall(conditions == name) for name in groups if name},
        confusion=confusion([s.score for s in scored], report.anomalous, threshold) if _has_labels(scored) else None,
        images=scored,
        notes=_notes(chosen),
        seconds=time.monotonic() - started,
    )
    log.info("evaluate %s: %d images, %.1f s", detector.info.algorithm, len(chosen), result.seconds)
    return result


def _has_labels(scored: Sequence[ScoredImage]) -> bool:
    return any(s.label != Label.UNKNOWN for s in scored)


def _notes(images: Sequence[PreparedImage]) -> tuple[str, ...]:
    labels = {i.label for i in images}
    notes = []
    if Label.ANOMALOUS not in labels:
        notes.append("No defective test photograph: only false alarms can be measured.")
    elif not any(i.mask for i in images):
        notes.append("No masks: pixel metrics are absent, not zero.")
    return tuple(notes)


class _Reporter:
    """Metrics of any subset of the scored photographs."""

    def __init__(self, found: ScoredTest, threshold: float, rounds: int, seed: int) -> None:
        self.anomalous, self._scores = found.anomalous, found.scores
        self._scored, self._table, self._rows = found.images, found.table, found.rows
        self._threshold, self._rounds, self._seed = threshold, rounds, seed

    def overall(self, chosen: NDArray[np.bool_]) -> dict[str, Interval]:
        image = image_intervals(self._scores[chosen], self.anomalous[chosen], self._threshold, self._rounds, self._seed)
        return {**image, **pixel_intervals(self._table, self._rounds, self._seed, images=chosen[self._rows])}

    def for_defect(self, name: str, number: int) -> dict[str, Interval]:
        """Set photographs that hold the defect against all normals."""
        chosen = ~self.anomalous | np.array([name in s.defects for s in self._scored])
        image = image_intervals(self._scores[chosen], self.anomalous[chosen], self._threshold, self._rounds, self._seed)
        # Normals are the same for every type, so their figures would only be repeated.
        shown = {k: v for k, v in image.items() if k in ("image_auroc", "image_ap")}
        return {**shown, **pixel_intervals(self._table, self._rounds, self._seed, defect=number)}
