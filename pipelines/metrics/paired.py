"""How far two versions are apart on the same photographs: candidate minus champion, with 95 % intervals.

Every resample takes the same photographs for both versions, so that what makes a photograph hard for both cancels out.
Efron, Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 and 13. Versions that rank alike differ by
exactly 0, with an interval of width 0.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.metrics.checks import MetricError, check_labels, check_scores
from pipelines.metrics.curves import aupro, auroc
from pipelines.metrics.histograms import ANY_DEFECT
from pipelines.metrics.intervals import bootstrap, rank_bins, with_bounds
from pipelines.metrics.pixels import PixelTable
from pipelines.records import Interval

Floats = NDArray[np.float64]
_Kernel = Callable[[NDArray[np.int64]], Floats]


def image_auroc_difference(
    candidate: ArrayLike, champion: ArrayLike, anomalous: ArrayLike, rounds: int, seed: int
) -> Interval | None:
    """Compute how much higher the candidate's image AUROC is; None where a class is absent.

    `candidate` and `champion` are (images,) scores of the same photographs in the same order, each on its own scale.
    Bounds are None with `rounds` 0 or fewer than two photographs of a class.

    >>> image_auroc_difference([0.1, 0.2, 0.3], [5.0, 9.0, 7.0], [False, False, True], 0, 0).value
    0.5
    """
    ours, theirs = check_scores(candidate), check_scores(champion)
    labels = check_labels(anomalous, ours.size)
    check_labels(labels, theirs.size)
    return _difference(_auroc_of(ours, labels), _auroc_of(theirs, labels), labels, rounds, seed, labels.size)


def aupro_difference(candidate: PixelTable, champion: PixelTable, rounds: int, seed: int) -> Interval | None:
    """Compute how much higher the candidate's AUPRO is; None where no photograph has a defect's mask.

    Both tables count the same photographs in the same order, each over its own bins. Bounds are None with `rounds` 0
    or fewer than two photographs with or without a defect.
    """
    holds = candidate.holds(ANY_DEFECT)
    if not np.array_equal(holds, champion.holds(ANY_DEFECT)):
        raise MetricError(
            f"expected two tables of the same photographs, found {candidate.images} and {champion.images} rows with "
            "other defects",
            cure="score both versions on the same test part",
        )
    if not holds.any():
        return None
    bins = candidate.edges.size + champion.edges.size
    return _difference(_aupro_of(candidate), _aupro_of(champion), holds, rounds, seed, bins)


def _auroc_of(scores: Floats, labels: NDArray[np.bool_]) -> _Kernel:
    one_hot = rank_bins(scores)
    return lambda weights: auroc((weights * ~labels) @ one_hot, (weights * labels) @ one_hot)


def _aupro_of(table: PixelTable) -> _Kernel:
    return lambda weights: aupro(weights @ table.sound, weights @ table.overlap[ANY_DEFECT])


def _difference(
    candidate: _Kernel, champion: _Kernel, labels: NDArray[np.bool_], rounds: int, seed: int, bins: int
) -> Interval | None:
    """Subtract two metrics of (resamples, images) weights, for all photographs and for every resample."""
    once = np.ones((1, labels.size), dtype=np.int64)
    value = float((candidate(once) - champion(once))[0])
    if np.isnan(value):
        return None
    draws = bootstrap(lambda w: {"difference": candidate(w) - champion(w)}, labels, rounds, seed, bins)
    return with_bounds(value, draws.get("difference"))
