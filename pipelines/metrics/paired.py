"""How far two versions are apart on the same images: candidate minus champion, with 95 % intervals.

Every resample takes the same images for both versions, so that what makes an image hard for both cancels out.
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
from pipelines.metrics.intervals import bootstrap, rank_bins, wilson_interval, with_bounds
from pipelines.metrics.pixels import PixelTable

Floats = NDArray[np.float64]
_Kernel = Callable[[NDArray[np.int64]], Floats]


def image_auroc_difference(
    candidate: ArrayLike, champion: ArrayLike, anomalous: ArrayLike, resamples: int, seed: int
) -> Interval | None:
    """Compute how much higher the candidate's image AUROC is.

    Args:
        candidate: One score an image (images,), higher is worse, on the candidate's own scale.
        champion: The champion's scores of the same images in the same order, on its own scale.
        anomalous: Labels (images,) in that order, true for anomalous.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        The difference, -1 to 1; None where a class is absent. Bounds are None with `resamples` 0 or just one image of a
        class.

    Raises:
        MetricError: If a score is not finite, or the numbers of scores and labels differ.

    >>> image_auroc_difference([0.1, 0.2, 0.3], [5.0, 9.0, 7.0], [False, False, True], 0, 0).value
    0.5
    """
    ours, theirs = check_scores(candidate), check_scores(champion)
    labels = check_labels(anomalous, ours.size)
    check_labels(labels, theirs.size)
    return _difference(_auroc_of(ours, labels), _auroc_of(theirs, labels), labels, resamples, seed, labels.size)


def aupro_difference(candidate: PixelTable, champion: PixelTable, resamples: int, seed: int) -> Interval | None:
    """Compute how much higher the candidate's AUPRO is.

    Args:
        candidate: Histograms of the candidate's maps, one row an image.
        champion: Histograms of the champion's maps of the same images in the same order, over its own bins.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        The difference, -1 to 1; None where no image has a defect's mask. Bounds are None with `resamples` 0, or where
        just one image holds a defect or just one holds none.

    Raises:
        MetricError: If the tables differ in which images hold a defect.
    """
    holds = candidate.holds(ANY_DEFECT)
    if not np.array_equal(holds, champion.holds(ANY_DEFECT)):
        raise MetricError(
            f"expected two tables of the same images, found {candidate.images} and {champion.images} rows with "
            "other defects",
            hint="score both versions on the same test split",
        )
    if not holds.any():
        return None
    bins = candidate.edges.size + champion.edges.size
    return _difference(_aupro_of(candidate), _aupro_of(champion), holds, resamples, seed, bins)


def synthetic_auroc(scores: ArrayLike, resamples: int, seed: int) -> Interval | None:
    """Compute the image AUROC of normal images against the same with synthetic anomalies.

    An image and all that was added into it are drawn together, because they resemble each other: drawn apart, the
    interval would be too narrow.

    Args:
        scores: Scores (images, 1 + synthetic) of one version, a row's normal score first; may be empty.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        The area, 0 to 1; None without an image. Bounds are None with `resamples` 0 or just one image.

    Raises:
        MetricError: If a score is not finite, or a row holds no synthetic one.
    """
    found = _check_synthetic(scores)
    return (
        _synthetic_interval(found.shape[0], _synthetic_auroc_of(found), resamples, seed, found.size)
        if found.size
        else None
    )


def synthetic_auroc_difference(candidate: ArrayLike, champion: ArrayLike, resamples: int, seed: int) -> Interval | None:
    """Compute how much higher the candidate's `synthetic_auroc` is.

    Args:
        candidate: Scores (images, 1 + synthetic), a row's normal score first, on the candidate's own scale.
        champion: The champion's scores of the same images in the same order, on its own scale.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        The difference, -1 to 1; None without an image. Bounds are None with `resamples` 0 or just one image.

    Raises:
        MetricError: If a score is not finite, a row holds no synthetic one, or the shapes differ.

    >>> synthetic_auroc_difference([[0.1, 0.9], [0.2, 0.8]], [[5.0, 4.0], [6.0, 7.0]], 0, 0).value
    0.5
    """
    ours, theirs = _check_synthetic(candidate), _check_synthetic(champion)
    if ours.shape != theirs.shape:
        raise MetricError(
            f"expected scores of the same images, found {ours.shape} and {theirs.shape}",
            hint="score both versions on the same validation split",
        )
    if not ours.size:
        return None
    first, second = _synthetic_auroc_of(ours), _synthetic_auroc_of(theirs)
    return _synthetic_interval(ours.shape[0], lambda w: first(w) - second(w), resamples, seed, 2 * ours.size)


def recall(flagged: ArrayLike, resamples: int, seed: int) -> Interval | None:
    """Compute the share of anomalous images that are flagged.

    Args:
        flagged: Verdicts (groups, images), bool, on anomalous images alone. A group is drawn as a whole: a labelled
            image, or all synthetic anomalies of one image. May be empty.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        The share, 0 to 1; None without an image. With one image a group, Wilson's bounds, as `recall_intervals` has
        them: resamples of images that are all found say that none can be missed. Else bounds are None with `resamples`
        0 or just one group.

    Raises:
        MetricError: If there is not one row of verdicts a group.

    >>> recall([[True], [False], [True], [True]], 0, 0).value
    0.75
    """
    found = _check_flagged(flagged)
    if found.shape[1] == 1:
        return wilson_interval(int(found.sum()), found.shape[0])
    return _synthetic_interval(found.shape[0], _share_of(found), resamples, seed, found.size) if found.size else None


def recall_difference(candidate: ArrayLike, champion: ArrayLike, resamples: int, seed: int) -> Interval | None:
    """Compute how much higher the candidate's recall is.

    Args:
        candidate: Verdicts (groups, images), bool, as for `recall`.
        champion: The champion's verdicts on the same images in the same groups.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        The difference, -1 to 1; None without an image. Bounds are None with `resamples` 0 or just one group.

    Raises:
        MetricError: If there is not one row of verdicts a group, or the shapes differ.

    >>> recall_difference([[True], [False]], [[True], [True]], 0, 0).value
    -0.5
    """
    ours, theirs = _check_flagged(candidate), _check_flagged(champion)
    if ours.shape != theirs.shape:
        raise MetricError(
            f"expected verdicts on the same images, found {ours.shape} and {theirs.shape}",
            hint="score both versions on the same images",
        )
    if not ours.size:
        return None
    kernel = _share_of(ours.astype(np.float64) - theirs)
    return _synthetic_interval(ours.shape[0], kernel, resamples, seed, ours.size)


def _check_flagged(flagged: ArrayLike) -> NDArray[np.bool_]:
    found = np.asarray(flagged, dtype=bool)
    if found.size and found.ndim != 2:
        raise MetricError(
            f"expected one row of verdicts a group of images, found shape {found.shape}", hint="pass (groups, images)"
        )
    return found


def _share_of(values: ArrayLike) -> _Kernel:
    """Average (groups, images) values over resampled groups, which are all of one size."""
    means = np.asarray(values, dtype=np.float64).mean(axis=1)
    return lambda weights: weights @ means / weights.sum(axis=1)


def _check_synthetic(scores: ArrayLike) -> Floats:
    found = np.asarray(scores, dtype=np.float64)
    if found.size and (found.ndim != 2 or found.shape[1] < 2):
        raise MetricError(
            f"expected one row an image, a normal score and synthetic ones, found shape {found.shape}",
            hint="plant at least one defect into each",
        )
    check_scores(found.ravel())
    return found


def _synthetic_auroc_of(scores: Floats) -> _Kernel:
    labels = np.tile(np.arange(scores.shape[1]) > 0, scores.shape[0])
    alike = _auroc_of(scores.ravel(), labels)
    return lambda weights: alike(np.repeat(weights, scores.shape[1], axis=1))


def _synthetic_interval(images: int, kernel: _Kernel, resamples: int, seed: int, cells: int) -> Interval:
    """Resample images, which are all of one kind: each is normal and defective in turn."""
    value = float(kernel(np.ones((1, images), dtype=np.int64))[0])
    one_kind = np.zeros(images, dtype=bool)
    return with_bounds(value, bootstrap(lambda w: {"auroc": kernel(w)}, one_kind, resamples, seed, cells).get("auroc"))


def _auroc_of(scores: Floats, labels: NDArray[np.bool_]) -> _Kernel:
    one_hot = rank_bins(scores)
    return lambda weights: auroc((weights * ~labels) @ one_hot, (weights * labels) @ one_hot)


def _aupro_of(table: PixelTable) -> _Kernel:
    return lambda weights: aupro(weights @ table.normal, weights @ table.overlap[ANY_DEFECT])


def _difference(
    candidate: _Kernel, champion: _Kernel, labels: NDArray[np.bool_], resamples: int, seed: int, bins: int
) -> Interval | None:
    """Subtract two metrics of (resamples, images) weights, for all images and for every resample."""
    once = np.ones((1, labels.size), dtype=np.int64)
    value = float((candidate(once) - champion(once))[0])
    if np.isnan(value):
        return None
    draws = bootstrap(lambda w: {"difference": candidate(w) - champion(w)}, labels, resamples, seed, bins)
    return with_bounds(value, draws.get("difference"))
