"""Figures of types against scikit-learn, and intervals that know what belongs together."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from pipelines.metrics.checks import MetricError
from pipelines.metrics.types import count_confusion, type_differences, type_intervals

NAMES = ("crack", "knot", "resin")


def draw(count: int, right: float, seed: int) -> tuple[list[str], list[str], list[str]]:
    random = np.random.default_rng(seed)
    truth = random.choice(NAMES, count).tolist()
    named = [t if random.random() < right else str(random.choice(NAMES)) for t in truth]
    return truth, named, [str(n // 2) for n in range(count)]


def test_figures_are_scikit_learns() -> None:
    truth, named, groups = draw(80, 0.6, 0)
    found = type_intervals(truth, named, groups, 200, 0)
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, named))
    assert found.macro_f1.value == pytest.approx(f1_score(truth, named, average="macro"))
    assert (count_confusion(truth, named, NAMES) == confusion_matrix(truth, named, labels=NAMES)).all()
    assert found.accuracy.low is not None
    assert found.accuracy.low < found.accuracy.value < (found.accuracy.high or 0)


def test_rare_types_are_left_out_of_the_mean_but_not_of_the_mistakes() -> None:
    truth, named, groups = draw(80, 0.6, 1)
    truth, named, groups = [*truth, "stain"], [*named, "knot"], [*groups, "x"]
    found = type_intervals(truth, named, groups, 0, 0, least=5)
    wanted = f1_score(truth, named, average="macro", labels=list(NAMES))
    assert found.macro_f1.value == pytest.approx(wanted)
    with pytest.raises(MetricError, match="no type has 500"):
        type_intervals(truth, named, groups, 0, 0, least=500)


def test_copies_in_one_group_do_not_narrow_the_interval() -> None:
    truth, named, _ = draw(40, 0.6, 2)
    once = type_intervals(truth, named, [str(n) for n in range(40)], 2000, 0).accuracy
    copied = type_intervals(truth * 4, named * 4, [str(n) for n in range(40)] * 4, 2000, 0).accuracy
    widths = [(i.high or 0) - (i.low or 0) for i in (once, copied)]
    assert widths[0] == pytest.approx(widths[1], rel=0.15)


def test_a_difference_is_paired() -> None:
    truth, better, groups = draw(60, 0.9, 3)
    worse = ["knot" if n % 5 == 0 else name for n, name in enumerate(better)]
    found = type_differences(truth, better, worse, groups, 500, 0)
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, better) - accuracy_score(truth, worse))
    same = type_differences(truth, better, better, groups, 500, 0)
    assert (same.macro_f1.low, same.macro_f1.value, same.macro_f1.high) == (0, 0, 0)
