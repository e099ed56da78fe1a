"""The histogram of image scores as inline SVG: normals upwards, anomalous images downwards."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

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
