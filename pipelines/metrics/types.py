"""How well types are named: confusion, accuracy and macro-F1, with intervals over groups of examples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.records import Interval
from pipelines.metrics.checks import MetricError
from pipelines.metrics.intervals import with_bounds

Floats = NDArray[np.float64]


class TypeIntervals(NamedTuple):
    """`macro_f1` is the mean over the types that are counted."""

    accuracy: Interval
    macro_f1: Interval


class _Named(NamedTuple):
    """Examples as indices of types, and which of them go together."""

    truth: NDArray[np.intp]
    groups: NDArray[np.intp]
    counted: list[int]
    types: int


def count_confusion(truth: Sequence[str], named: Sequence[str], types: Sequence[str]) -> NDArray[np.int64]:
    """Count examples by their type (rows) and the one given (columns).

    Args:
        truth: Each example's own type.
        named: The type it was given, in the same order.
        types: All types that occur in either, in the order of rows and columns.

    Returns:
        Counts, int64, shape (types, types).

    Raises:
        ValueError: If a name is none of `types`.

    >>> count_confusion(["knot", "crack"], ["knot", "knot"], ["crack", "knot"]).tolist()
    [[0, 1], [0, 1]]
    """
    table = np.zeros((len(types), len(types)), np.int64)
    np.add.at(table, (_index(truth, types), _index(named, types)), 1)
    return table


def macro_f1(tables: Floats, counted: Sequence[int]) -> Floats:
    """Average F1 over some types.

    Args:
        tables: Confusions (..., types, types), rows the true types; counts may be weighted.
        counted: Numbers of the types to average over, from 0. A type that nothing is or is called is left out.

    Returns:
        Averages (...), 0 to 1; NaN where no counted type is left.

    >>> macro_f1(np.array([[[1.0, 1.0], [0.0, 2.0]]]), [0, 1]).round(3).tolist()
    [0.733]
    """
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    total = tables.sum(-1) + tables.sum(-2)
    with np.errstate(invalid="ignore"):
        f1 = 2 * hits / total
    return np.asarray(np.nanmean(f1[..., list(counted)], axis=-1))


def type_intervals(
    truth: Sequence[str],
    named: Sequence[str],
    groups: Sequence[str],
    resamples: int,
    seed: int,
    least: int = 1,
) -> TypeIntervals:
    """Compute accuracy and macro-F1 of named types, with intervals over whole groups.

    Args:
        truth: Each example's own type.
        named: The type it was given, in the same order.
        groups: What each example belongs to, in the same order, mostly its image; a group is drawn as a whole.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.
        least: Examples that a type needs to count in macro-F1; the accuracy counts rarer ones too.

    Returns:
        Both figures, 0 to 1; macro-F1 has no bounds where a resample holds none of the types that count.

    Raises:
        MetricError: If no type has as many examples.
    """
    facts, types = _facts(truth, named, groups, least)
    once = np.ones((1, facts.truth.size))
    chosen = _index(named, types)
    weights = _draw(facts.groups, resamples, seed)
    value, draws = _figures(facts, chosen, once), _figures(facts, chosen, weights)
    return TypeIntervals(
        *(with_bounds(float(v[0]), d if resamples else None) for v, d in zip(value, draws, strict=True))
    )


def type_differences(
    truth: Sequence[str],
    named: Sequence[str],
    other: Sequence[str],
    groups: Sequence[str],
    resamples: int,
    seed: int,
) -> TypeIntervals:
    """Compute how much better `named` is than `other` on the same examples; resamples are the same for both.

    Args:
        truth: Each example's own type.
        named: The type it was given by the one, in the same order.
        other: The type it was given by the other, in the same order.
        groups: What each example belongs to, in the same order, mostly its image; a group is drawn as a whole.
        resamples: Bootstrap resamples, 0 for no bounds.
        seed: Seed of the resamples, 0 or more.

    Returns:
        Differences, -1 to 1, of accuracy and of macro-F1 over all types that `truth` holds.

    Raises:
        MetricError: If there is no example.
    """
    facts, types = _facts(truth, [*named, *other], groups, 1)
    weights = np.concatenate([np.ones((1, facts.truth.size)), _draw(facts.groups, resamples, seed)])
    ours, theirs = (_figures(facts, _index(names, types), weights) for names in (named, other))
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    return TypeIntervals(*(with_bounds(float(gap[0]), gap[1:] if resamples else None) for gap in gaps))


def _facts(truth: Sequence[str], named: Sequence[str], groups: Sequence[str], least: int) -> tuple[_Named, list[str]]:
    types = sorted({*truth, *named})
    counted = [n for n, name in enumerate(types) if truth.count(name) >= max(least, 1)]
    if not counted:
        raise MetricError(f"no type has {least} examples", hint="add examples, or count rarer types")
    members = np.unique(np.asarray(groups), return_inverse=True)[1]
    return _Named(_index(truth, types), members, counted, len(types)), types


def _index(names: Sequence[str], types: Sequence[str]) -> NDArray[np.intp]:
    return np.array([types.index(name) for name in names], dtype=np.intp)


def _draw(groups: NDArray[np.intp], resamples: int, seed: int) -> Floats:
    """Draw how often each example appears in each resample of groups: (resamples, n)."""
    count = int(groups.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.asarray(drawn[:, groups], np.float64)


def _figures(facts: _Named, named: NDArray[np.intp], weights: Floats) -> tuple[Floats, Floats]:
    """Return accuracy and macro-F1 of (resamples, n) weights, each (resamples,)."""
    pairs = np.eye(facts.types**2)[facts.truth * facts.types + named]
    tables = (weights @ pairs).reshape(-1, facts.types, facts.types)
    hits = np.trace(tables, axis1=1, axis2=2)
    return hits / tables.sum((1, 2)), macro_f1(tables, facts.counted)
