"""What a benchmark says: one ratio, measured in one run, with the absolute figures beside it."""

from collections.abc import Sequence
from statistics import median

from pipelines.core.records import Record


class Figure(Record):
    """Ours over the reference: below 1 is better than the reference.

    `ratio` is the median of the rounds' own ratios, `low` and `high` are their extremes; `ours` and `reference` are
    medians in `unit`.
    """

    subject: str
    against: str
    unit: str
    ours: float
    reference: float
    ratio: float
    low: float
    high: float
    resamples: int
    note: str = ""


def ratio_figure(
    subject: str, against: str, unit: str, *, ours: Sequence[float], reference: Sequence[float], note: str = ""
) -> Figure:
    """Pair the rounds of both sides: two neighbours in time share what else the machine was doing.

    >>> figure = ratio_figure("fit", "theirs", "s", ours=[1.0, 9.0, 2.0], reference=[2.0, 9.0, 8.0])
    >>> figure.ratio, figure.low, figure.high, figure.ours, figure.reference
    (0.5, 0.25, 1.0, 2.0, 8.0)
    """
    ratios = [mine / theirs for mine, theirs in zip(ours, reference, strict=True)]
    return Figure(
        subject=subject,
        against=against,
        unit=unit,
        ours=median(ours),
        reference=median(reference),
        ratio=median(ratios),
        low=min(ratios),
        high=max(ratios),
        resamples=len(ratios),
        note=note,
    )
