"""The chart shows every image once, and the threshold where it lies."""

import re

import numpy as np
import pytest

from pipelines.reports.charts.histogram import bin_scores, draw_score_chart


@pytest.mark.parametrize("threshold", [0.0, 0.4, 3.0])
def test_every_image_is_in_a_bar(threshold: float) -> None:
    generator = np.random.default_rng(0)
    normal, anomalous = generator.exponential(1, 90), generator.exponential(5, 40)
    bins = bin_scores(normal, anomalous, threshold)
    assert (bins.normal.sum(), bins.anomalous.sum()) == (90, 40)
    assert bins.beyond == sum(s > bins.top for s in [*normal, *anomalous])
    assert bins.top > threshold
    shown = re.findall(r"<title>(\d+) normal", draw_score_chart(normal, anomalous, threshold))
    assert sum(map(int, shown)) == 90


def test_the_threshold_lies_to_scale() -> None:
    svg = draw_score_chart([0.5], [2.0], 1.0)
    place = float(re.search(r'class="threshold" x1="([\d.]+)"', svg)[1])
    top = bin_scores([0.5], [2.0], 1.0).top
    assert (place - 12) / (708 - 12) == pytest.approx(1.0 / top, abs=1e-3)


@pytest.mark.parametrize("scores", [([], []), ([0.0], []), ([], [1e-7]), ([1e6], [1e-3])])
def test_scores_of_any_size_can_be_drawn(scores: tuple[list[float], list[float]]) -> None:
    assert draw_score_chart(*scores, 0.0).endswith("</svg>")
