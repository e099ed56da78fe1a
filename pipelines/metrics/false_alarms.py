"""How many false alarms a threshold that keeps its promise may give on a few sound photographs."""

import math

from scipy.stats import betabinom

from pipelines.metrics.checks import MetricError, check_rate

# 100 * 0.29 must not become 28.999999999999996 and lose a place; the same as in `conformal_threshold`.
_ROUNDING = 1e-9


def places_above(rate: float, images: int) -> int:
    """Count the places above the threshold, of the n + 1 that a new score can take among n calibration scores.

    This is l = floor((n + 1) rate), and 1 where the images are too few: `conformal_threshold` then takes the largest.

    >>> places_above(0.01, 99), places_above(0.05, 99), places_above(0.01, 8)
    (1, 5, 1)
    """
    if images < 1:
        raise MetricError(f"no threshold is set on {images} images", cure="calibrate on one normal image at least")
    return min(images, max(1, math.floor((images + 1) * check_rate(rate) + _ROUNDING)))


def most_false_alarms(rate: float, images: int, normals: int, quantile: float = 0.99) -> int:
    """Return the number of false alarms that a correct threshold exceeds with probability 1 - `quantile` at most.

    The threshold was set for `rate` by split-conformal prediction on n = `images` sound photographs, and meets
    `normals` others like them. Its own rate is then distributed as Beta(l, n + 1 - l), l as in `places_above`, and the
    number of false alarms as the beta-binomial over that; ties of scores only lower it. Angelopoulos, Bates 2023,
    "Conformal Prediction: A Gentle Introduction", section 3.2; Vovk 2012, "Conditional Validity of Inductive
    Conformal Predictors".

    >>> most_false_alarms(0.01, images=99, normals=100), most_false_alarms(0.01, images=9999, normals=100)
    (6, 4)
    """
    above = places_above(rate, images)
    return int(betabinom.ppf(check_rate(quantile), normals, above, images + 1 - above)) if normals else 0
