"""Image AUROC over the number of images, for each way of adapting, as inline SVG."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from pipelines.core.records import Interval

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
