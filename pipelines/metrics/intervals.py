"""95 % intervals: how far a figure could lie from what other test images of the same kind would give."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.stats import binomtest

from pipelines.core.records import Interval
from pipelines.metrics import curves as image
from pipelines.metrics.checks import check_labels, check_scores
from pipelines.metrics.curves import auroc, average_precision, best_f1
from pipelines.metrics.histograms import ANY_DEFECT
from pipelines.metrics.pixels import PIXEL_METRICS, PixelTable

Floats = NDArray[np.float64]
_TAILS = (0.025, 0.975)

# Histograms of one block of resamples stay below about 100 MB.
_BLOCK_CELLS = 2_000_000


def resample_weights(anomalous: ArrayLike, resamples: int, seed: int) -> NDArray[np.int64]:
    """Draw how often each image appears in each bootstrap resample.

    Both classes keep their number, so that a resample never loses one. Efron, Tibshirani 1993, chapter 13.

    Args:
        anomalous: Labels (images,), true for anomalous; one class may be absent.
        resamples: How many resamples, 0 or more.
        seed: Seed of the draws, 0 or more.

    Returns:
        Counts, int64, shape (resamples, images); each row adds up to the number of images.

    >>> resample_weights([False, False, True], 4, seed=0).sum(axis=1).tolist()
    [3, 3, 3, 3]
    """
    labels = np.asarray(anomalous, dtype=bool)
    generator = np.random.default_rng(seed)
    weights = np.zeros((resamples, labels.size), dtype=np.int64)
    for members in (np.flatnonzero(~labels), np.flatnonzero(labels)):
        if members.size:
            even = np.full(members.size, 1 / members.size)
            weights[:, members] = generator.multinomial(members.size, even, size=resamples)
    return weights


def wilson_interval(hits: int, trials: int) -> Interval | None:
    """Compute a rate with its Wilson score interval.

    Args:
        hits: Trials that count, 0 to `trials`.
        trials: All trials, 0 or more.

    Returns:
        The rate and its 95 % bounds, 0 to 1; None without trials.

    >>> wilson_interval(0, 100).high < 0.04
    True
    """
    if not trials:
        return None
    bounds = binomtest(hits, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(value=hits / trials, low=float(bounds.low), high=float(bounds.high))


def image_intervals(
    scores: ArrayLike, anomalous: ArrayLike, threshold: float, resamples: int, seed: int
) -> dict[str, Interval]:
    """Compute every image metric with its interval, under the names of `Evaluation.metrics`.

    Scores that separate the classes perfectly give an interval of width 0: the bootstrap knows nothing else.

    Args:
        scores: One score an image (images,), higher is worse; may be empty.
        anomalous: Labels (images,) in the same order, true for anomalous.
        threshold: Image threshold, on the scale of `scores`.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        Figures 0 to 1 by name; a metric is absent where its class is. Bounds are None with `resamples` 0 or just one
        image of a class, except those of the false-positive rate, which are Wilson's.

    Raises:
        MetricError: If a score is not finite, or the number of labels differs.
    """
    found = check_scores(scores)
    labels = check_labels(anomalous, found.size)
    values = {
        "image_auroc": image.image_auroc(found, labels),
        "image_ap": image.image_ap(found, labels),
        "image_f1": image.image_f1(found, labels, threshold),
        "image_f1_max": image.image_f1_max(found, labels),
    }
    draws = bootstrap(_image_kernel(found, labels, threshold), labels, resamples, seed, int(found.size))
    intervals = {n: with_bounds(v, draws.get(n)) for n, v in values.items() if v is not None}
    counts = image.confusion(found, labels, threshold)
    alarms = wilson_interval(counts.false_positive, counts.false_positive + counts.true_negative)
    return intervals if alarms is None else {**intervals, "false_positive_rate": alarms}


def recall_intervals(scores: ArrayLike, anomalous: ArrayLike, levels: Mapping[str, float]) -> dict[str, Interval]:
    """Compute which share of the anomalous images lies above each of several levels.

    Args:
        scores: One score an image (images,), higher is worse; may be empty.
        anomalous: Labels (images,) in the same order, true for anomalous.
        levels: Levels on the scale of `scores`, by the name that the result is to have.

    Returns:
        Recall 0 to 1 with Wilson bounds by name; empty without an anomalous image.

    >>> recall_intervals([0.2, 0.5, 0.9], [False, True, True], {"recall": 0.6})["recall"].value
    0.5
    """
    found = check_scores(scores)
    defective = found[check_labels(anomalous, found.size)]
    rates = {name: wilson_interval(int((defective > level).sum()), defective.size) for name, level in levels.items()}
    return {name: rate for name, rate in rates.items() if rate is not None}


def pixel_intervals(
    table: PixelTable, resamples: int, seed: int, defect: int = ANY_DEFECT, images: ArrayLike | None = None
) -> dict[str, Interval]:
    """Compute pixel_auroc, pixel_ap and aupro with their intervals over whole images.

    Args:
        table: Histograms of whole images, one row each.
        resamples: Bootstrap resamples, 0 for no bounds. They keep the number of images with and without the defect.
        seed: Seed of the resamples, 0 or more.
        defect: Mask value of a type, whose pixels alone are then positive; images that hold other defects only are left
            out. ANY_DEFECT takes all types together.
        images: Rows of the table that count, bool, shape (images,), for example those of one condition. None: all.

    Returns:
        Figures 0 to 1 by name; empty where the selection holds no normal or no such defective pixel. Bounds are None
        with `resamples` 0, or where just one image holds the defect or just one holds none.
    """
    weights = table.images_for(defect)
    chosen = np.flatnonzero(weights if images is None else weights * np.asarray(images, dtype=bool))
    selected = table.select(chosen)
    values = {name: float(value) for name, value in selected.metrics(defect=defect).items()}
    labels, bins = selected.holds(defect), int(selected.edges.size)
    draws = bootstrap(lambda w: selected.metrics(w, defect), labels, resamples, seed, bins)
    return {n: with_bounds(values[n], draws.get(n)) for n in PIXEL_METRICS if not np.isnan(values[n])}


def rank_bins(scores: Floats) -> csr_array:
    """Give each distinct score a bin of its own: (images,) to (images, distinct scores) of one 1 a row."""
    ranks = np.unique(scores, return_inverse=True)[1]
    rows = np.arange(scores.size)
    return csr_array((np.ones(scores.size), (rows, ranks)), shape=(scores.size, int(ranks.max(initial=-1)) + 1))


def _image_kernel(
    scores: Floats, labels: NDArray[np.bool_], threshold: float
) -> Callable[[NDArray[np.int64]], dict[str, Floats]]:
    """Build the function that computes image metrics of (resamples, images) weights: each score's rank is a bin."""
    one_hot = rank_bins(scores)
    flagged = scores > threshold

    def compute(weights: NDArray[np.int64]) -> dict[str, Floats]:
        normal, defective = (weights * ~labels) @ one_hot, (weights * labels) @ one_hot
        found = 2 * (weights @ (flagged & labels))
        missed_or_false = weights @ (flagged != labels)
        return {
            "image_auroc": auroc(normal, defective),
            "image_ap": average_precision(normal, defective),
            "image_f1": found / np.maximum(found + missed_or_false, 1),
            "image_f1_max": best_f1(normal, defective),
        }

    return compute


def bootstrap(
    compute: Callable[[NDArray[np.int64]], dict[str, Floats]],
    labels: NDArray[np.bool_],
    resamples: int,
    seed: int,
    bins: int,
) -> dict[str, Floats]:
    """Compute the metrics of every resample, block by block.

    Args:
        compute: Takes weights, int64, shape (resamples, images), and returns each metric as (resamples,).
        labels: Classes (images,) that keep their number in each resample; all alike where images are of one kind.
        resamples: How many resamples, 0 for none.
        seed: Seed of the resamples, 0 or more.
        bins: How many numbers `compute` holds for each resample, by which the size of a block is chosen.

    Returns:
        Each metric's draws (resamples,); empty where no interval can be given: without resamples or images, or with
        just one image of a class.
    """
    classes = np.bincount(labels.astype(int), minlength=2)
    if not resamples or (classes == 1).any() or not classes.any():
        return {}
    weights = resample_weights(labels, resamples, seed)
    block = max(1, _BLOCK_CELLS // max(bins, 1))
    parts = [compute(weights[start : start + block]) for start in range(0, resamples, block)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def with_bounds(value: float, draws: Floats | None) -> Interval:
    """Give a figure the 2.5 % and 97.5 % quantiles of its draws as bounds, where there are any.

    Args:
        value: The figure of all images, each counted once.
        draws: The figure of each resample (resamples,); None where there are none.

    Returns:
        The figure; its bounds are None without draws, or where one of them is NaN.

    >>> with_bounds(0.9, np.array([0.8, 0.9, 1.0, np.nan])).low is None
    True
    """
    if draws is None or np.isnan(draws).any():
        return Interval(value=value)
    low, high = np.quantile(draws, _TAILS)
    return Interval(value=value, low=float(low), high=float(high))
