"""Charts of a run as SVG files of their own, as MLflow shows them: ROC, precision and recall, scores, training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import escape
from numpy.typing import ArrayLike, NDArray

from pipelines.core.files import write_whole
from pipelines.reports.charts.histogram import HEIGHT, WIDTH, draw_score_chart

CHARTS = "charts"
_SIDE, _LEFT, _BOTTOM, _TOP, _RIGHT = 480, 64, 420, 40, 456
_SVG = 'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="14"'
# Where a page brings a style sheet, a file has its own. On white, since MLflow's page may be dark.
_STYLE = (
    "<style>svg { background: #fff } text { fill: #444; text-anchor: middle } .note { text-anchor: end } "
    ".title, .early { text-anchor: start } .late { text-anchor: end } .axis { stroke: #888 } "
    ".threshold { stroke: #111; stroke-dasharray: 4 3 } .normal { fill: #0072b2 } .anomalous { fill: #d55e00 }</style>"
)
Points = Sequence[tuple[float, float]]


def write_charts(folder: Path, normal: Sequence[float], anomalous: Sequence[float], threshold: float) -> None:
    """Write a run's charts of image scores; those that need both classes only where there are both.

    Args:
        folder: Made where it is absent.
        normal: Image scores of normal test images.
        anomalous: Image scores of anomalous test images, on the same scale.
        threshold: The image threshold, on that scale.
    """
    if normal or anomalous:
        chart = str(draw_score_chart(normal, anomalous, threshold))
        write_whole(
            folder / "scores.svg",
            chart.replace("<svg ", f'<svg {_SVG} width="{WIDTH}" height="{HEIGHT}" ', 1).replace(">", f">{_STYLE}", 1),
        )
    if not (normal and anomalous):
        return
    flagged, found = rates(normal, anomalous)
    counts = flagged * len(normal), found * len(anomalous)
    precision = counts[1] / np.maximum(counts[0] + counts[1], 1)
    write_whole(
        folder / "roc.svg",
        draw_curves("false-positive rate", "recall", {"": [(0.0, 0.0), *zip(flagged, found, strict=True)]}, unit=True),
    )
    write_whole(
        folder / "precision-recall.svg",
        draw_curves("recall", "precision", {"": list(zip(found, precision, strict=True))}, unit=True),
    )


def write_training(folder: Path, curves: Mapping[str, Points]) -> None:
    """Write how training went, where it took steps.

    Args:
        folder: Made where it is absent.
        curves: Values by step, by what they are of.
    """
    if any(len(points) > 1 for points in curves.values()):
        write_whole(folder / "training.svg", draw_curves("step", "loss", curves))


def rates(normal: ArrayLike, anomalous: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give both classes' shares at or above each score, from the highest score to the lowest.

    Args:
        normal: Image scores of normal images, shape (n,), at least one.
        anomalous: Image scores of anomalous images on the same scale, shape (m,), at least one.

    Returns:
        The false-positive rate and the recall at each score of either class, of the same length.

    >>> [share.tolist() for share in rates([1.0, 2.0], [2.0, 3.0])]
    [[0.0, 0.5, 1.0], [0.5, 1.0, 1.0]]
    """
    sets = [np.sort(np.asarray(scores, np.float64)) for scores in (normal, anomalous)]
    thresholds = np.unique(np.concatenate(sets))[::-1]
    below = [np.searchsorted(scores, thresholds, "left") for scores in sets]
    return 1 - below[0] / len(sets[0]), 1 - below[1] / len(sets[1])


def draw_curves(x_name: str, y_name: str, lines: Mapping[str, Points], *, unit: bool = False) -> str:
    """Draw lines over one pair of axes.

    Args:
        x_name: What stands below.
        y_name: What stands above the upright axis.
        lines: Points in order, by name; a nameless one has no key.
        unit: Both axes go from 0 to 1; otherwise from the lowest to the highest value.

    Returns:
        An SVG that is a file of its own.
    """
    colours = ("#0072b2", "#d55e00", "#009e73")
    points = np.array([point for line in lines.values() for point in line], np.float64)
    low, high = (np.zeros(2), np.ones(2)) if unit else (points.min(0), points.max(0))
    high = np.where(high > low, high, low + 1)
    parts = [
        f'<svg {_SVG} width="{_SIDE}" height="{_SIDE}" viewBox="0 0 {_SIDE} {_SIDE}" role="img">{_STYLE}',
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" class="axis"/>',
        f'<text x="{(_LEFT + _RIGHT) // 2}" y="{_SIDE - 12}">{escape(x_name)}</text>',
        f'<text class="title" x="8" y="20">{escape(y_name)}</text>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _LEFT + share * (_RIGHT - _LEFT), _BOTTOM - share * (_BOTTOM - _TOP)
        at = low + share * (high - low)
        parts.append(f'<text x="{x:.0f}" y="{_BOTTOM + 20}">{at[0]:.4g}</text>')
        parts.append(f'<text class="late" x="{_LEFT - 8}" y="{y + 5:.0f}">{at[1]:.3g}</text>')
    for number, (name, line) in enumerate(lines.items()):
        places = (np.array(line, np.float64) - low) / (high - low)
        path = " ".join(f"{_LEFT + x * (_RIGHT - _LEFT):.1f},{_BOTTOM - y * (_BOTTOM - _TOP):.1f}" for x, y in places)
        colour = colours[number % len(colours)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if name:
            style = f'style="fill: {colour}" x="{_RIGHT}" y="{_TOP + 20 * number}"'
            parts.append(f'<text class="late" {style}>{escape(name)}</text>')
    return "".join([*parts, "</svg>"])
