"""Stage: gather what the gate may know of a candidate, and of the champion on the same photographs."""

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
from pipelines.core.records import Label, Part
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.core.wording import parity_in_words
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.detector.detector import Detector
from pipelines.detector.version import VersionInfo, read_info
from pipelines.metrics.curves import image_auroc
from pipelines.metrics.intervals import image_intervals, pixel_intervals
from pipelines.metrics.paired import (
    aupro_difference,
    image_auroc_difference,
    planted_auroc,
    planted_auroc_difference,
    recall,
    recall_difference,
)
from pipelines.registry.checks import check_coordinates, latency_ratio, reproduce
from pipelines.registry.decision import Comparison, Facts, Finding, Sample, Scored
from pipelines.training.evaluate import ScoredTest, score_test
from pipelines.training.parity import disagreements, read_parity
from pipelines.training.run_settings import EvaluationSettings
from pipelines.training.selection import scan_planted, select_normals

_LOOKED_AT = 8  # photographs that are timed

log = logging.getLogger(__name__)


class Contender(NamedTuple):
    """A registered version and its model folder; `lost` says why that cannot be read.

    `registered` is what the registry keeps of its files' checksums, empty where that is nothing. `seen` are the paths
    of the photographs that it was trained or calibrated on.
    """

    version: int
    algorithm: str
    folder: Path
    seen: frozenset[str] = frozenset()
    lost: str = ""
    registered: str = ""


class Ground(NamedTuple):
    """What versions are compared on: a surface's photographs and settings, and how much effort is spent.

    Maps are kept in `scratch` while they are counted.
    """

    paths: SurfacePaths
    own: SurfaceSettings
    images: Sequence[PreparedImage]
    settings: EvaluationSettings
    seed: int
    scratch: Path


class _Marks(NamedTuple):
    """A version's scores; `planted` is (photographs, 1 + planted), the sound score first, empty where not asked."""

    detector: Detector
    test: ScoredTest
    planted: NDArray[np.float64]

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Say which labelled anomalies the image threshold marks, (images, 1)."""
        images = [i for i in self.test.images if i.label == Label.ANOMALOUS]
        return np.array([image.anomalous for image in images], dtype=bool).reshape(-1, 1)

    @property
    def marked_planted(self) -> NDArray[np.bool_]:
        """Say which planted defects the image threshold marks, (photographs, planted)."""
        return self.planted[:, 1:] > self.detector.info.image_threshold.threshold


class _Parts(NamedTuple):
    """The photographs to judge by; `rounds` defects are planted into each of `select`."""

    test: list[PreparedImage]
    select: list[PreparedImage]
    rounds: int


def gather_facts(ground: Ground, candidate: Contender, champion: Contender | None, validation: Finding) -> Facts:
    """Score both versions on the test part, once both gave their reference tiles: the candidate in a fresh process.

    Test photographs that either of them was trained or calibrated on are left out: the parts may have been drawn anew.
    Where there are no labelled defects, the select part with planted ones is scored too. A champion that cannot be
    loaded holds no candidate up: there is no comparison then, and `alone` says why.

    Raises:
        ModelError: where the candidate's folder holds no readable model.json.
        MetricError: where its scores are of no use.
    """
    started = time.monotonic()
    info, references = read_info(candidate.folder), reproduce(candidate.folder, candidate.registered)
    parts = _choose(ground, candidate, champion)
    ours = _mark(ground, parts, candidate, _load(candidate)) if references.ok else None
    theirs, alone = _mark_champion(ground, parts, champion) if ours else (None, "no champion")
    facts = Facts(
        surface=ground.paths.name,
        candidate=_figures(ground, candidate, ours),
        comparison=_compare(ground, parts, champion, ours, theirs),
        images=_sample(parts),
        promise=info.image_threshold,
        false_alarms=sum(i.anomalous and i.label == Label.NORMAL for i in ours.test.images) if ours else 0,
        validation=validation,
        references=references,
        parity=_check_parity(candidate.folder, info),
        coordinates=check_coordinates(ours.detector, ground.paths, ground.own.region, ground.images)
        if ours
        else Finding(ok=True, words="not looked at"),
        alone=alone,
    )
    against = f"version {champion.version}" if champion else "none"
    log.info(
        "gate %s: version %d against %s on %d photographs, %.1f s",
        *(facts.surface, candidate.version, against, len(parts.test), time.monotonic() - started),
    )
    return facts


def _choose(ground: Ground, candidate: Contender, champion: Contender | None) -> _Parts:
    """Choose the photographs that neither version has seen, and those that defects are planted into.

    Into some where labelled defects are missing, or too few to tell how many are found; then as many as tell it.
    """
    least, planted = ground.own.policy.gate.least_anomalies, ground.settings.planted
    seen = candidate.seen | (champion.seen if champion else frozenset())
    test = [i for i in ground.images if i.part == Part.TEST and i.path not in seen]
    labels = [i.label for i in test]
    enough = labels.count(Label.ANOMALOUS) >= least and Label.NORMAL in labels
    select = [] if enough or not planted else select_normals(ground.images)
    rounds = max(planted, math.ceil(least / len(select))) if select else planted
    return _Parts(sorted(test, key=lambda i: i.path), select, rounds)


def _load(who: Contender) -> Detector:
    return Detector(who.folder, registered=who.registered)


def _mark(ground: Ground, parts: _Parts, who: Contender, detector: Detector) -> _Marks:
    prepared, rounds = ground.paths.prepared, parts.rounds
    label = f"version {who.version}"
    with tempfile.TemporaryDirectory(dir=ground.scratch) as spool:
        test = score_test(detector, prepared, parts.test, Path(spool), label)
    scans = scan_planted(detector, prepared, parts.select, rounds, ground.seed, f"{label}, planted")
    planted = np.array([found.scan.score for found in scans])
    return _Marks(detector, test, planted.reshape(len(parts.select), -1) if planted.size else np.zeros((0, 0)))


def _mark_champion(ground: Ground, parts: _Parts, champion: Contender | None) -> tuple[_Marks | None, str]:
    """Score the champion; where that cannot be done, say why."""
    if champion is None:
        return None, "no champion"
    problem = champion.lost
    if not problem:
        try:
            detector = _load(champion)
            detector.check_references()
            return _mark(ground, parts, champion, detector), ""
        except KnotwatchError as error:
            problem = error.problem
    return None, f"the champion, version {champion.version}, cannot be compared with ({problem})"


def _figures(ground: Ground, who: Contender, marks: _Marks | None) -> Scored:
    if marks is None:
        return Scored(version=who.version, algorithm=who.algorithm)
    rounds, seed = ground.settings.bootstrap, ground.seed
    test, threshold = marks.test, marks.detector.info.image_threshold.threshold
    return Scored(
        version=who.version,
        algorithm=who.algorithm,
        image_auroc=image_intervals(test.scores, test.anomalous, threshold, rounds, seed).get("image_auroc"),
        aupro=pixel_intervals(test.table, rounds, seed).get("aupro"),
        planted_auroc=planted_auroc(marks.planted, rounds, seed),
        recall=recall(marks.marked, rounds, seed),
        planted_recall=recall(marks.marked_planted, rounds, seed),
    )


def _compare(
    ground: Ground, parts: _Parts, champion: Contender | None, ours: _Marks | None, theirs: _Marks | None
) -> Comparison | None:
    if champion is None or ours is None or theirs is None:
        return None
    rounds, seed = ground.settings.bootstrap, ground.seed
    test, other = ours.test, theirs.test
    by_rank = image_auroc(test.scores, test.anomalous) is not None
    timed = (parts.test or list(ground.images))[:_LOOKED_AT]
    return Comparison(
        champion=_figures(ground, champion, theirs),
        image_auroc=image_auroc_difference(test.scores, other.scores, test.anomalous, rounds, seed)
        if by_rank
        else None,
        aupro=aupro_difference(test.table, other.table, rounds, seed),
        planted_auroc=planted_auroc_difference(ours.planted, theirs.planted, rounds, seed),
        recall=recall_difference(ours.marked, theirs.marked, rounds, seed),
        planted_recall=recall_difference(ours.marked_planted, theirs.marked_planted, rounds, seed),
        promise=theirs.detector.info.image_threshold,
        latency_ratio=latency_ratio(
            ours.detector, theirs.detector, [read_region(ground.paths.prepared, image) for image in timed]
        ),
    )


def _sample(parts: _Parts) -> Sample:
    defective = [i for i in parts.test if i.label == Label.ANOMALOUS]
    return Sample(
        normal=sum(i.label == Label.NORMAL for i in parts.test),
        defective=len(defective),
        masked=sum(i.mask is not None for i in defective),
        planted=len(parts.select) * parts.rounds,
    )


def _check_parity(folder: Path, info: VersionInfo) -> Finding:
    parity = read_parity(folder)
    if parity is None:
        return Finding(ok=False, words="the version keeps no record of how its exported network agreed with torch")
    found = disagreements(parity, info.image_threshold.threshold * info.image_divisor)
    return Finding.of(found, parity_in_words(parity))
