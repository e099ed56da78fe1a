"""The histogram of image scores as inline SVG: normals upwards, anomalous images downwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import ArrayLike, NDArray

from pipelines.core.records import Interval

BINS = 40
WIDTH, HEIGHT = 720, 284
_LEFT, _RIGHT, _MIDDLE, _REACH = 12, 708, 124, 96
_NEAR = 100  # half of what the threshold's words take on a phone


@dataclass(frozen=True)
class Bins:
    """Images per bin; the last bin holds everything above `top` as well."""

    normal: NDArray[np.int64]
    anomalous: NDArray[np.int64]
    top: float
    beyond: int


def bin_scores(normal: ArrayLike, anomalous: ArrayLike, threshold: float) -> Bins:
    """Count scores in even bins from 0 to `top`, which shows the threshold and all but the highest scores.

    Args:
        normal: Image scores of normal images, shape (n,), 0 or more; may be empty.
        anomalous: Image scores of anomalous images on the same scale, shape (m,); may be empty.
        threshold: The image threshold, on the same scale.

    Returns:
        Counts of both classes in 40 bins each; `beyond` of them lie above `top` and are in the last bin.

    >>> bin_scores([0.5] * 20, [50.0], 1.0).beyond
    1
    """
    sets = [np.asarray(scores, dtype=float) for scores in (normal, anomalous)]
    pooled = np.concatenate(sets)
    usual = np.quantile(pooled, 0.9) if pooled.size else 0.0
    top = max(1.5 * threshold, min(float(pooled.max(initial=0)), 1.5 * float(usual)), 1e-12)
    counts = [np.histogram(scores.clip(0, top), bins=BINS, range=(0, top))[0] for scores in sets]
    return Bins(counts[0], counts[1], top, int((pooled > top).sum()))


def _bars(counts: NDArray[np.int64], kind: str, upwards: bool) -> list[str]:
    """Draw one class; bars are scaled within the class, since classes differ in size."""
    step = (_RIGHT - _LEFT) / BINS
    heights = counts / max(int(counts.max(initial=0)), 1) * _REACH
    return [
        f'<rect class="{kind}" x="{_LEFT + i * step + 0.5:.1f}" y="{_MIDDLE - h if upwards else _MIDDLE:.1f}" '
        f'width="{step - 1:.1f}" height="{h:.1f}"><title>{n} {kind}</title></rect>'
        for i, (n, h) in enumerate(zip(counts, heights, strict=True))
        if n
    ]


def _ticks(top: float) -> list[str]:
    step = 10.0 ** np.floor(np.log10(top))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if top / s <= 8)
    places = np.arange(0, top * 1.0001, step)
    return [
        f'<text class="tick" x="{_LEFT + p / top * (_RIGHT - _LEFT):.1f}" y="{HEIGHT - 38}">{p:.4g}</text>'
        for p in places
    ]


def _side(place: float) -> str:
    """Say to which side of a line its words go, so that a narrow page's edge cuts none off."""
    return " early" if place < _NEAR else " late" if place > WIDTH - _NEAR else ""


def draw_score_chart(normal: ArrayLike, anomalous: ArrayLike, threshold: float) -> Markup:
    """Draw both classes and the threshold; numbers only, so that no text of a user's enters the SVG.

    Args:
        normal: Image scores of normal images, shape (n,), 0 or more; may be empty.
        anomalous: Image scores of anomalous images on the same scale, shape (m,); may be empty.
        threshold: The image threshold, on the same scale.

    Returns:
        An inline SVG of 720 x 284 units, for a page that brings the style sheet.
    """
    bins = bin_scores(normal, anomalous, threshold)
    line = _LEFT + threshold / bins.top * (_RIGHT - _LEFT)
    note = f"the last bar holds {bins.beyond} above {bins.top:.3g}" if bins.beyond else ""
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Histogram of image scores">',
        *_bars(bins.normal, "normal", upwards=True),
        *_bars(bins.anomalous, "anomalous", upwards=False),
        f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{_MIDDLE}" y2="{_MIDDLE}"/>',
        f'<line class="threshold" x1="{line:.1f}" x2="{line:.1f}" y1="20" y2="{HEIGHT - 60}"/>',
        f'<text class="mark{_side(line)}" x="{line:.1f}" y="16">threshold {threshold:.3g}</text>',
        *_ticks(bins.top),
        f'<text class="note" x="{_RIGHT}" y="{HEIGHT - 8}">{note}</text>',
        f'<text class="title" x="{_LEFT}" y="{HEIGHT - 8}">image score</text>',
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 - built from numbers and fixed words alone


_WIDTH, _HEIGHT, _PLOT_LEFT, _PLOT_RIGHT, _TOP, _BOTTOM = 720, 340, 56, 540, 20, 290
# Readable on light and dark, and apart for the colour-blind (Okabe, Ito 2008).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b")
_DASHES = ("", "6 3", "2 3")


class Line(NamedTuple):
    """A strategy of an algorithm: image AUROC by the number of images, rising."""

    name: str
    points: tuple[tuple[int, Interval], ...]


def draw_shots_chart(lines: Sequence[Line]) -> Markup | None:
    """Draw all lines into one chart; None where there is nothing to draw.

    >>> draw_shots_chart([]) is None
    True
    """
    if not lines:
        return None
    counts = sorted({count for line in lines for count, _ in line.points})
    lowest = min(figure.value if figure.low is None else figure.low for line in lines for _, figure in line.points)
    floor = max(0.0, min(0.5, lowest // 0.1 / 10))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Image AUROC over the number of images" font-family="sans-serif" font-size="13">',
        *_axes(counts, floor),
        *(part for number, line in enumerate(lines) for part in _draw(line, number, len(lines), counts, floor)),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 - numbers and escaped names alone


def _place(count: int, counts: Sequence[int]) -> float:
    """Give the numbers of images even distances, since they grow by factors."""
    return _PLOT_LEFT + 40 + counts.index(count) * (_PLOT_RIGHT - _PLOT_LEFT - 80) / max(1, len(counts) - 1)


def _level(value: float, floor: float) -> float:
    return _BOTTOM - (value - floor) / (1 - floor) * (_BOTTOM - _TOP)


def _axes(counts: Sequence[int], floor: float) -> list[str]:
    steps = [floor + i * 0.1 for i in range(round((1 - floor) * 10) + 1)]
    rows = [
        f'<line x1="{_PLOT_LEFT}" x2="{_PLOT_RIGHT}" y1="{_level(s, floor):.1f}" y2="{_level(s, floor):.1f}" '
        'stroke="#8884"/>'
        f'<text x="{_PLOT_LEFT - 24}" y="{_level(s, floor) + 4:.1f}">{s:.1f}</text>'
        for s in steps
    ]
    columns = [f'<text x="{_place(c, counts):.1f}" y="{_BOTTOM + 20}">{c}</text>' for c in counts]
    return [*rows, *columns, f'<text x="{(_PLOT_LEFT + _PLOT_RIGHT) / 2}" y="{_HEIGHT - 8}">images used</text>']


def _draw(line: Line, number: int, lines: int, counts: Sequence[int], floor: float) -> list[str]:
    """Draw points with whiskers, beside each other where several lines have one, and the line's name."""
    colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number // len(_COLOURS) % len(_DASHES)]
    offset = (number - (lines - 1) / 2) * min(7.0, 60 / lines)
    places = [(_place(count, counts) + offset, figure) for count, figure in line.points]
    path = " ".join(f"{x:.1f},{_level(f.value, floor):.1f}" for x, f in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-dasharray="{dash}" opacity="0.6"/>']
    for x, figure in places:
        parts.append(f'<circle cx="{x:.1f}" cy="{_level(figure.value, floor):.1f}" r="4" fill="{colour}"/>')
        if figure.low is not None and figure.high is not None:
            low, high = _level(figure.low, floor), _level(figure.high, floor)
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
    top = _TOP + 6 + number * 19
    parts.append(f'<rect x="{_PLOT_RIGHT + 12}" y="{top - 9}" width="10" height="10" fill="{colour}"/>')
    parts.append(f'<text x="{_PLOT_RIGHT + 28}" y="{top}" style="text-anchor:start">{escape(line.name)}</text>')
    return parts
