"""Whether new images still look like those a version was calibrated on: two-sample tests for many checks.

A check compares one batch with the calibration reference. It may only report drift where three things come together: a
test says so beyond what chance explains, in spite of how many figures are tested (Holm 1979, "A Simple Sequentially
Rejective Multiple Test Procedure") and how often one has checked (`level_of_check`), and the change is large enough to
matter (`population_stability`). Simulated over 2,000 months of 30 quiet daily batches of 20 to 200 images against
one reference of 99 and of 22, five figures correlated by 0.5 (python -m benchmarks.drift_checks), the share of
months with a false alarm:

==================================  =========  =========
each figure at 5 %                     96.7 %     76.0 %
with Holm                              53.4 %     30.0 %
with Holm and the level of the check     4.2 %      3.6 %
and the size                            1.4 %      3.2 %
==================================  =========  =========
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pipelines.metrics.checks import check_rate, check_scores

_BINS = 5  # of equal share in the reference; more would be empty in a batch of 20


def shift_p_value(reference: ArrayLike, batch: ArrayLike, tolerated: float = 0.0) -> float:
    """Test whether a batch comes from where the reference came from, whatever share `tolerated` of it shows.

    Two-sample Kolmogorov-Smirnov by scipy. A share of strangers moves the empirical distribution by at most that share,
    so its distance less the share bounds that of the rest, and the p-value is valid whatever the strangers are: usual
    defects, of which the reference holds none. Ties make it conservative. Kolmogorov's distribution is taken at
    n m / (n + m), as scipy does for large samples.

    Args:
        reference: The figure's values (n,) on the calibration split; at least one.
        batch: Its values (m,) on the new images; at least one.
        tolerated: Share of the batch that may be anything, 0 to 1.

    Returns:
        The p-value, 0 to 1; a low one speaks for a shift.

    Raises:
        MetricError: If a value is not finite.

    >>> shift_p_value(range(50), range(50))
    1.0
    >>> shift_p_value(range(50), range(100, 120)) < 1e-9
    True
    >>> shift_p_value(range(50), [*range(0, 50, 2), 90, 91, 92], tolerated=0.2)
    1.0
    """
    ours, theirs = check_scores(reference), check_scores(batch)
    distance = float(stats.ks_2samp(ours, theirs).statistic) - tolerated
    if distance <= 0:
        return 1.0
    size = ours.size * theirs.size / (ours.size + theirs.size)
    return float(stats.kstwo.sf(distance, max(1, round(size))))


def excess_p_value(flagged: int, images: int, usual: float) -> float:
    """Test whether more images are flagged than a usual share explains: the one-sided binomial test.

    Args:
        flagged: Images with an anomalous verdict, 0 to `images`.
        images: Images in the batch, 1 or more.
        usual: Share of images that are flagged without being news, between 0 and 1 without both.

    Returns:
        The p-value, 0 to 1; a low one says that more are flagged than usual.

    Raises:
        MetricError: If the usual share is out of range.

    >>> round(excess_p_value(3, 60, 0.1), 2), excess_p_value(30, 60, 0.1) < 1e-12
    (0.95, True)
    """
    return float(stats.binomtest(flagged, images, check_rate(usual), alternative="greater").pvalue)


def population_stability(reference: ArrayLike, batch: ArrayLike) -> float:
    """Compute the population stability index (PSI) less what chance alone adds.

    The sum of (q - p) ln(q / p) over 5 bins that hold equal shares of the reference; half an image is added to each
    bin. Without a shift its mean is 4 (1 / n + 1 / m) for n and m images, which is taken off: Yurdakul 2018,
    "Statistical Properties of the Population Stability Index".

    Args:
        reference: The figure's values (n,) on the calibration split; at least one.
        batch: Its values (m,) on the new images; at least one.

    Returns:
        The index, >= 0, and 0 where nothing moved. From 0.25 on a shift is called large (Siddiqi 2006, "Credit Risk
        Scorecards").

    Raises:
        MetricError: If a value is not finite.

    >>> population_stability(range(100), range(100))
    0.0
    >>> population_stability(range(100), range(60, 160)) > 1
    True
    """
    ours, theirs = check_scores(reference), check_scores(batch)
    edges = np.quantile(ours, np.linspace(0, 1, _BINS + 1)[1:-1])
    was, now = _shares(edges, ours), _shares(edges, theirs)
    index = float(((now - was) * np.log(now / was)).sum())
    return max(0.0, index - (_BINS - 1) * (1 / ours.size + 1 / theirs.size))


def _shares(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.bincount(np.searchsorted(edges, values), minlength=_BINS) + 0.5
    return np.asarray(counts / counts.sum())


def level_of_check(number: int, level: float) -> float:
    """Return the level of the `number`-th check, so that all checks together, however many, err with `level`.

    level / (k (k + 1)) adds up to `level`, and a union bound needs no independence: all checks share one reference.
    Lan, DeMets 1983, "Discrete Sequential Boundaries for Clinical Trials" call this spending.

    Args:
        number: Number k of the check against one reference, from 1.
        level: Probability of a false alarm in any of the checks, 0 to 1.

    Returns:
        What this check's p-values are set against, 0 to 1.

    >>> level_of_check(1, 0.05), round(sum(level_of_check(k, 0.05) for k in range(1, 10_000)), 4)
    (0.025, 0.05)
    """
    return level / (number * (number + 1))


def adjust_for_figures(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for being the smallest of many (Holm 1979); each may then be set against one level.

    >>> adjust_for_figures({"scores": 0.01, "sharpness": 0.04, "brightness": 0.03})
    {'scores': 0.03, 'sharpness': 0.06, 'brightness': 0.06}
    """
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda n: p_values[n])):
        highest = max(highest, min(1.0, p_values[name] * (len(p_values) - rank)))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}
