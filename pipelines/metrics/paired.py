"""How far two versions are apart on the same photographs: candidate minus champion, with 95 % intervals.

Every resample takes the same photographs for both versions, so that what makes a photograph hard for both cancels out.
Efron, Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 and 13. Versions that rank alike differ by
exactly 0, with an interval of width 0.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.core.records import Interval
from pipelines.metrics.checks import MetricError, check_labels, check_scores
from pipelines.metrics.curves import aupro, auroc
from pipelines.metrics.histograms import ANY_DEFECT
from pipelines.metrics.intervals import bootstrap, rank_bins, with_bounds
from pipelines.metrics.pixels import PixelTable

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


def planted_auroc(scores: ArrayLike, rounds: int, seed: int) -> Interval | None:
    """Compute the image AUROC of sound photographs against the same with planted defects; None without a photograph.

    `scores` is (photographs, 1 + planted): the sound score first. A photograph and all that was planted into it are
    drawn together, because they resemble each other: drawn apart, the interval would be too narrow.
    """
    found = _check_planted(scores)
    return _planted_interval(found.shape[0], _planted_auroc_of(found), rounds, seed, found.size) if found.size else None


def planted_auroc_difference(candidate: ArrayLike, champion: ArrayLike, rounds: int, seed: int) -> Interval | None:
    """Compute how much higher the candidate's `planted_auroc` is, on the same photographs in the same order.

    >>> planted_auroc_difference([[0.1, 0.9], [0.2, 0.8]], [[5.0, 4.0], [6.0, 7.0]], 0, 0).value
    0.5
    """
    ours, theirs = _check_planted(candidate), _check_planted(champion)
    if ours.shape != theirs.shape:
        raise MetricError(
            f"expected scores of the same photographs, found {ours.shape} and {theirs.shape}",
            cure="score both versions on the same select part",
        )
    if not ours.size:
        return None
    first, second = _planted_auroc_of(ours), _planted_auroc_of(theirs)
    return _planted_interval(ours.shape[0], lambda w: first(w) - second(w), rounds, seed, 2 * ours.size)


def recall(marked: ArrayLike, rounds: int, seed: int) -> Interval | None:
    """Compute the share of anomalous images that are marked; None without one.

    `marked` is (groups, images) bool. A group is drawn as a whole: a labelled image, or all that was planted into one.

    >>> recall([[True], [False], [True], [True]], 0, 0).value
    0.75
    """
    found = _check_marked(marked)
    return _planted_interval(found.shape[0], _share_of(found), rounds, seed, found.size) if found.size else None


def recall_difference(candidate: ArrayLike, champion: ArrayLike, rounds: int, seed: int) -> Interval | None:
    """Compute how much higher the candidate's recall is, on the same images in the same groups.

    >>> recall_difference([[True], [False]], [[True], [True]], 0, 0).value
    -0.5
    """
    ours, theirs = _check_marked(candidate), _check_marked(champion)
    if ours.shape != theirs.shape:
        raise MetricError(
            f"expected verdicts on the same images, found {ours.shape} and {theirs.shape}",
            cure="score both versions on the same images",
        )
    if not ours.size:
        return None
    kernel = _share_of(ours.astype(np.float64) - theirs)
    return _planted_interval(ours.shape[0], kernel, rounds, seed, ours.size)


def _check_marked(marked: ArrayLike) -> NDArray[np.bool_]:
    found = np.asarray(marked, dtype=bool)
    if found.size and found.ndim != 2:
        raise MetricError(
            f"expected one row of verdicts a group of images, found shape {found.shape}", cure="pass (groups, images)"
        )
    return found


def _share_of(values: ArrayLike) -> _Kernel:
    """Average (groups, images) values over resampled groups, which are all of one size."""
    means = np.asarray(values, dtype=np.float64).mean(axis=1)
    return lambda weights: weights @ means / weights.sum(axis=1)


def _check_planted(scores: ArrayLike) -> Floats:
    found = np.asarray(scores, dtype=np.float64)
    if found.size and (found.ndim != 2 or found.shape[1] < 2):
        raise MetricError(
            f"expected one row a photograph, a sound score and planted ones, found shape {found.shape}",
            cure="plant at least one defect into each",
        )
    check_scores(found.ravel())
    return found


def _planted_auroc_of(scores: Floats) -> _Kernel:
    labels = np.tile(np.arange(scores.shape[1]) > 0, scores.shape[0])
    alike = _auroc_of(scores.ravel(), labels)
    return lambda weights: alike(np.repeat(weights, scores.shape[1], axis=1))


def _planted_interval(photographs: int, kernel: _Kernel, rounds: int, seed: int, cells: int) -> Interval:
    """Resample photographs, which are all of one kind: each is sound and defective in turn."""
    value = float(kernel(np.ones((1, photographs), dtype=np.int64))[0])
    one_kind = np.zeros(photographs, dtype=bool)
    return with_bounds(value, bootstrap(lambda w: {"auroc": kernel(w)}, one_kind, rounds, seed, cells).get("auroc"))


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
