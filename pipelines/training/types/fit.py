"""Fitting the head that names types: logistic regression, calibrated on examples that it did not see."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from pipelines.core.progress import track
from pipelines.core.records import NORMAL
from pipelines.detector.type_head import Floats, Limits, TypeHead, nearest, order_types, unit

# With fewer groups than this, each is held out by itself.
_FEW_GROUPS = 60
_FOLDS = 10
_REACHED = 0.975  # share of held-out examples that count as near
_LOST = 0.02  # share of held-out defects that may be dropped as normal
# Strong shrinkage: there are more features than examples.
_FREEDOM = 0.01
_ITERATIONS = 3000
_ABSENT = -30.0  # the logit of a type that a fold had no example of


class HeldOutLogits(NamedTuple):
    """Logits (n, types) and distances (n,) of examples, each by a head that saw none of its group."""

    types: tuple[str, ...]
    logits: Floats
    distances: Floats
    message: str

    @property
    def named(self) -> list[str]:
        return [self.types[best] for best in self.logits.argmax(axis=1)]


def hold_out(features: Floats, types: Sequence[str], groups: Sequence[str], seed: int) -> HeldOutLogits:
    """Name each example by a head that was fitted without its group.

    Each group is left out by itself where there are fewer than 60, else ten parts of whole groups.

    Args:
        features: Shape (n, views, d), as `embed_crops` returns them.
        types: Each example's own type, n of them; whichever group is left out, two types must be left.
        groups: Names of what must not be split, n of them.
        seed: Draws the ten parts.

    Returns:
        Logits and distances (0 to 2) in the order of the examples.
    """
    names = order_types(types)
    found = HeldOutLogits(
        names, np.full((len(types), len(names)), _ABSENT, np.float32), np.zeros(len(types), np.float32), _words(groups)
    )
    labels = np.asarray(types)
    folds = _split(labels, groups, seed)
    for seen, unseen in track(folds, len(folds), "types, held out"):
        head = _fit_linear(features[seen], labels[seen])
        scaled = head.standardise(features[unseen])
        columns = np.array([names.index(name) for name in head.limits.types])
        found.logits[unseen[:, None], columns] = head.logits(scaled)
        found.distances[unseen] = nearest(scaled.mean(axis=1), head.examples)
    return found


def _split(
    labels: NDArray[np.str_], groups: Sequence[str], seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    if len(set(groups)) < _FEW_GROUPS:
        return list(LeaveOneGroupOut().split(labels, labels, groups))
    splitter = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels, groups))


def _words(groups: Sequence[str]) -> str:
    count = len(set(groups))
    return f"each of {count} groups by itself" if count < _FEW_GROUPS else f"{count} groups in {_FOLDS} parts"


def fit_head(features: Floats, types: Sequence[str], held_out: HeldOutLogits) -> TypeHead:
    """Fit the head to all examples; what was held out sets its temperature and where its word ends.

    Args:
        features: Shape (n, views, d), as `embed_crops` returns them.
        types: Each example's own type, n of them; at least one is not `normal`.
        held_out: What `hold_out` returned for the same examples.

    Returns:
        The head as a version stores it.
    """
    head = _fit_linear(features, np.asarray(types))
    truth = np.array([held_out.types.index(name) for name in types])
    temperature = fit_temperature(held_out.logits, truth)
    limits = Limits(
        types=head.limits.types,
        temperature=temperature,
        max_distance=_find_max_distance(held_out.distances),
        drop_above=_find_drop_level(held_out, types, temperature),
    )
    return TypeHead(limits, head.mean, head.scale, head.weights, head.bias, head.examples)


def fit_temperature(logits: Floats, truth: NDArray[np.intp]) -> float:
    """Find what logits are to be divided by for the likeliest probabilities of the truth.

    Source: Guo et al. 2017, "On calibration of modern neural networks".

    Args:
        logits: Of examples that were held out, shape (n, types); at least one.
        truth: Column of each example's own type, shape (n,).

    Returns:
        A temperature from 0.05 to 2981; above 1 the logits were too sure.

    >>> twice_too_sure = np.float32([[0, 2 * np.log(3)]] * 4)
    >>> round(fit_temperature(twice_too_sure, np.array([0, 1, 1, 1])), 2)
    2.0
    """

    def loss(log_temperature: float) -> float:
        chances = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(chances[np.arange(truth.size), truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 8.0), method="bounded").x))


def _find_max_distance(distances: Floats) -> float:
    """Return the distance (n,) beyond which nothing fits: half-way from held-out examples to strangers.

    What has nothing in common with any example is at right angles to it, the square root of 2 apart. The quantile
    alone is too near: a hand frames its crops alike, and a detector's regions otherwise.
    """
    return float((np.quantile(distances, _REACHED) + np.sqrt(2)) / 2)


def _find_drop_level(held_out: HeldOutLogits, types: Sequence[str], temperature: float) -> float:
    """Return the probability of `normal` above which at most 2 % of the held-out defects lie; 1 without normal ones."""
    if NORMAL not in held_out.types:
        return 1.0
    chances = np.exp(log_softmax(held_out.logits / temperature, axis=1))[:, held_out.types.index(NORMAL)]
    defects = np.sort(chances[[name != NORMAL for name in types]])
    return float(defects[-1 - int(_LOST * defects.size)])


# On products this small a second thread gains nothing, and on a busy machine each of thousands waits for it.
@threadpool_limits.wrap(limits=1, user_api="blas")
def _fit_linear(features: Floats, labels: NDArray[np.str_]) -> TypeHead:
    """Fit multinomial logistic regression to every view of every example; rare types weigh as much as frequent ones."""
    count, views, width = features.shape
    rows = features.reshape(-1, width)
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1).astype(np.float32)
    scaled = (rows - mean) / scale
    basis = _row_space(scaled)
    fitted = LogisticRegression(C=_FREEDOM, class_weight="balanced", max_iter=_ITERATIONS)
    fitted.fit(scaled @ basis, np.repeat(labels, views))
    weights, bias = fitted.coef_ @ basis.T, fitted.intercept_
    if len(weights) == 1:  # of two types scikit-learn keeps the second against the first
        weights, bias = np.concatenate([0 * weights, weights]), np.concatenate([0 * bias, bias])
    names = order_types(labels.tolist())
    order = [list(fitted.classes_).index(name) for name in names]
    limits = Limits(types=names, temperature=1.0, max_distance=np.inf, drop_above=1.0)
    examples = unit(scaled.reshape(count, views, width).mean(axis=1))
    return TypeHead(limits, mean, scale, weights[order].astype(np.float32), bias[order].astype(np.float32), examples)


def _row_space(rows: Floats) -> Floats:
    """Return an orthonormal basis (d, k) that holds all rows (n, d), with k at most n.

    Shrunk weights lie in the span of the rows, and turning the axes changes neither loss nor penalty: a fit in these
    coordinates is the same fit, of fewer unknowns.
    """
    count, width = rows.shape
    return np.linalg.qr(rows.T)[0] if count < width else np.eye(width, dtype=rows.dtype)
