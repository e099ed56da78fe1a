"""Stage: gather what the gate may know of a candidate, and of the champion on the same images."""

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import SurfacePaths
from pipelines.core.progress import waiting
from pipelines.core.records import Label, Split
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.core.wording import parity_in_words
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.detector.detector import Detector
from pipelines.detector.members import member_folder
from pipelines.detector.scan import Wrap
from pipelines.detector.version import VersionInfo, read_info
from pipelines.metrics.curves import image_auroc
from pipelines.metrics.intervals import image_intervals, pixel_intervals
from pipelines.metrics.paired import (
    aupro_difference,
    image_auroc_difference,
    recall,
    recall_difference,
    synthetic_auroc,
    synthetic_auroc_difference,
)
from pipelines.registry.checks import check_coordinates, reproduce
from pipelines.registry.decision import ChampionComparison, CheckResult, Evidence, EvidenceCounts, Scored
from pipelines.registry.timing import time_in_turns
from pipelines.training.choosing.selection import scan_synthetic, validation_normals
from pipelines.training.ensemble.latency import measure_latency
from pipelines.training.evaluate import ScoredTest, score_test
from pipelines.training.parity import agreement_in_words, disagreements, read_parity
from pipelines.training.run_settings import EvaluationSettings

_CHECKED = 8  # images that are timed

log = logging.getLogger(__name__)


class Candidate(NamedTuple):
    """A registered version and its model folder; `lost` says why that cannot be read.

    `registered` is what the registry keeps of its files' checksums, empty where that is nothing. `seen` are the paths
    of the images that it was trained or calibrated on, `learnt` those that it was trained on.
    """

    version: int
    algorithm: str
    folder: Path
    seen: frozenset[str] = frozenset()
    learnt: frozenset[str] = frozenset()
    lost: str = ""
    registered: str = ""


class EvaluationContext(NamedTuple):
    """What versions are compared on: a surface's images and settings, and how much effort is spent.

    Maps are kept in `scratch` while they are counted. `wrap` puts a network before each of the versions', such as one
    that knows the maps of a retrain: a network is known by its files, so that it is the registered one that is judged.
    """

    paths: SurfacePaths
    own: SurfaceSettings
    images: Sequence[PreparedImage]
    settings: EvaluationSettings
    seed: int
    scratch: Path
    wrap: Wrap | None = None


class _Scores(NamedTuple):
    """A version's scores; `synthetic` is (images, 1 + synthetic), the normal score first, empty where not asked."""

    detector: Detector
    test: ScoredTest
    synthetic: NDArray[np.float64]

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Say which labelled anomalies the image threshold marks, (images, 1)."""
        images = [i for i in self.test.images if i.label == Label.ANOMALOUS]
        return np.array([image.anomalous for image in images], dtype=bool).reshape(-1, 1)

    @property
    def flagged_synthetic(self) -> NDArray[np.bool_]:
        """Say which synthetic anomalies the image threshold marks, (images, synthetic)."""
        return self.synthetic[:, 1:] > self.detector.info.image_threshold.threshold


class _Splits(NamedTuple):
    """The images to judge by; `repeats` synthetic anomalies are added to each of `validation`."""

    test: list[PreparedImage]
    validation: list[PreparedImage]
    repeats: int


def gather_evidence(
    context: EvaluationContext, candidate: Candidate, champion: Candidate | None, validation: CheckResult
) -> Evidence:
    """Score both versions on the test split, once both gave their reference tiles: the candidate in a fresh process.

    Test images that either of them was trained or calibrated on are left out: the splits may have been drawn anew. So
    are validation images that one was trained on: an adaptation may use them so.
    Where labelled defects are absent or too few, the validation split with synthetic ones is scored too.

    Args:
        context: The surface's images and settings, and how much effort is spent.
        candidate: The version to be judged.
        champion: The version in use, None where there is none. One that cannot be loaded holds no candidate up: there
            is no comparison then, and `alone` says why.
        validation: What validation found of the data that the candidate was trained on.

    Returns:
        The evidence; the candidate has no figures where it does not reproduce its reference tiles.

    Raises:
        ModelError: If the candidate's folder holds no readable model.json, or its scores or maps are not finite.
        MetricError: If its scores are of no use.
    """
    started = time.monotonic()
    info, references = read_info(candidate.folder), reproduce(candidate.folder, candidate.registered)
    splits = _choose(context, candidate, champion)
    ours = _score(context, splits, candidate, _load(candidate)) if references.ok else None
    theirs, alone = _score_champion(context, splits, champion) if ours else (None, "no champion")
    evidence = Evidence(
        surface=context.paths.name,
        candidate=_figures(context, candidate, ours),
        comparison=_compare(context, splits, champion, ours, theirs),
        images=_sample(splits),
        image_threshold=info.image_threshold,
        false_alarms=sum(i.anomalous and i.label == Label.NORMAL for i in ours.test.images) if ours else 0,
        validation=validation,
        references=references,
        parity=_check_parity(candidate.folder, info),
        coordinates=check_coordinates(ours.detector, context.paths, context.own.region, context.images)
        if ours
        else CheckResult(ok=True, message="not looked at"),
        alone=alone,
    )
    against = f"version {champion.version}" if champion else "none"
    log.info(
        "gate %s: version %d against %s on %d images, %.1f s",
        *(evidence.surface, candidate.version, against, len(splits.test), time.monotonic() - started),
    )
    return evidence


def _choose(context: EvaluationContext, candidate: Candidate, champion: Candidate | None) -> _Splits:
    """Choose the images that neither version has seen, and those that synthetic anomalies are added to.

    Into some where labelled defects are missing, or too few to tell how many are found; then as many as tell it.
    """
    least, synthetic = context.own.policy.gate.least_anomalies, context.settings.synthetic
    seen = candidate.seen | (champion.seen if champion else frozenset())
    test = [i for i in context.images if i.split == Split.TEST and i.path not in seen]
    labels = [i.label for i in test]
    enough = labels.count(Label.ANOMALOUS) >= least and Label.NORMAL in labels
    learnt = candidate.learnt | (champion.learnt if champion else frozenset())
    normals = [i for i in validation_normals(context.images) if i.path not in learnt]
    validation = [] if enough or not synthetic else normals
    repeats = max(synthetic, math.ceil(least / len(validation))) if validation else synthetic
    return _Splits(sorted(test, key=lambda i: i.path), validation, repeats)


@waiting("gate, load")
def _load(who: Candidate) -> Detector:
    return Detector(who.folder, registered=who.registered)


def _score(context: EvaluationContext, splits: _Splits, who: Candidate, detector: Detector) -> _Scores:
    prepared, repeats, wrap = context.paths.prepared, splits.repeats, context.wrap
    label = f"version {who.version}"
    with tempfile.TemporaryDirectory(dir=context.scratch) as spool:
        test = score_test(detector, prepared, splits.test, Path(spool), label, wrap)
    scans = scan_synthetic(detector, prepared, splits.validation, repeats, context.seed, f"{label}, synthetic", wrap)
    synthetic = np.array([found.scan.score for found in scans])
    return _Scores(
        detector, test, synthetic.reshape(len(splits.validation), -1) if synthetic.size else np.zeros((0, 0))
    )


def _score_champion(
    context: EvaluationContext, splits: _Splits, champion: Candidate | None
) -> tuple[_Scores | None, str]:
    """Score the champion; where that cannot be done, say why."""
    if champion is None:
        return None, "no champion"
    problem = champion.lost
    if not problem:
        try:
            detector = _load(champion)
            with waiting("gate, reference tiles of the champion"):
                detector.check_references()
            return _score(context, splits, champion, detector), ""
        except KnotwatchError as error:
            problem = error.problem
    return None, f"the champion, version {champion.version}, cannot be compared with ({problem})"


@waiting("gate, intervals")
def _figures(context: EvaluationContext, who: Candidate, scores: _Scores | None) -> Scored:
    if scores is None:
        return Scored(version=who.version, algorithm=who.algorithm)
    resamples, seed = context.settings.bootstrap, context.seed
    test, threshold = scores.test, scores.detector.info.image_threshold.threshold
    return Scored(
        version=who.version,
        algorithm=who.algorithm,
        image_auroc=image_intervals(test.scores, test.anomalous, threshold, resamples, seed).get("image_auroc"),
        aupro=pixel_intervals(test.table, resamples, seed).get("aupro"),
        synthetic_auroc=synthetic_auroc(scores.synthetic, resamples, seed),
        recall=recall(scores.flagged, resamples, seed),
        synthetic_recall=recall(scores.flagged_synthetic, resamples, seed),
    )


def _compare(
    context: EvaluationContext,
    splits: _Splits,
    champion: Candidate | None,
    ours: _Scores | None,
    theirs: _Scores | None,
) -> ChampionComparison | None:
    if champion is None or ours is None or theirs is None:
        return None
    resamples, seed = context.settings.bootstrap, context.seed
    test, other = ours.test, theirs.test
    by_rank = image_auroc(test.scores, test.anomalous) is not None
    timed = (splits.test or list(context.images))[:_CHECKED]
    regions = [read_region(context.paths.prepared, image) for image in timed]
    policy = context.own.policy
    latency = measure_latency(ours.detector, context.paths.prepared, timed)
    # What is quick enough by itself may be any number of times slower.
    quick = latency is not None and latency <= policy.latency_ms
    most = math.inf if quick else policy.gate.max_latency_ratio
    timing = time_in_turns(ours.detector, theirs.detector, regions, most)
    figures = _figures(context, champion, theirs)
    with waiting("gate, comparison"):
        return ChampionComparison(
            champion=figures,
            image_auroc=image_auroc_difference(test.scores, other.scores, test.anomalous, resamples, seed)
            if by_rank
            else None,
            aupro=aupro_difference(test.table, other.table, resamples, seed),
            synthetic_auroc=synthetic_auroc_difference(ours.synthetic, theirs.synthetic, resamples, seed),
            recall=recall_difference(ours.flagged, theirs.flagged, resamples, seed),
            synthetic_recall=recall_difference(ours.flagged_synthetic, theirs.flagged_synthetic, resamples, seed),
            image_threshold=theirs.detector.info.image_threshold,
            latency_ratio=timing.ratio,
            latency_ms=latency,
            load=timing.load,
            allowed_ms=policy.latency_ms,
        )


def _sample(splits: _Splits) -> EvidenceCounts:
    defective = [i for i in splits.test if i.label == Label.ANOMALOUS]
    return EvidenceCounts(
        normal=sum(i.label == Label.NORMAL for i in splits.test),
        defective=len(defective),
        masked=sum(i.mask is not None for i in defective),
        synthetic=len(splits.validation) * splits.repeats,
    )


def _check_parity(folder: Path, info: VersionInfo) -> CheckResult:
    """See how a version's networks agreed with torch; those of an ensemble each by its own threshold."""
    places = [member_folder(folder, one.name) for one in info.members] or [folder]
    found = [_check_network(place, read_info(place) if info.members else info) for place in places]
    words = zip([one.name for one in info.members] or [""], found, strict=True)
    said = [f"{name}: {result.message}" if name else result.message for name, result in words]
    return CheckResult(ok=all(result.ok for result in found), message="; ".join(said))


def _check_network(folder: Path, info: VersionInfo) -> CheckResult:
    parity = read_parity(folder)
    if parity is None:
        return CheckResult(
            ok=False, message="the version keeps no record of how its exported network agreed with torch"
        )
    threshold = info.image_threshold.threshold * info.image_divisor
    found = disagreements(parity, threshold)
    if not np.isfinite(parity.exported).all():
        return CheckResult.of(found, "")
    agreement = agreement_in_words(parity, threshold)
    if found:
        return CheckResult(ok=False, message=f"{'; '.join(found)} ({agreement})")
    return CheckResult(ok=True, message=f"{agreement}; {parity_in_words(parity)}")
