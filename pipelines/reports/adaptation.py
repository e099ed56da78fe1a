"""The page of one adaptation: strategies and algorithms over the number of images, and what was chosen."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.core.files import write_whole
from pipelines.core.records import Interval, Record, Strategy
from pipelines.core.results import Failure
from pipelines.core.wording import METRIC_NAMES, count_in_words, interval_in_words
from pipelines.reports.charts.shots import Line, draw_shots_chart
from pipelines.reports.pages import Link, page_environment


class AdaptedRow(Record):
    """One strategy of one algorithm with some images: the test split's figures and the validation split's."""

    algorithm: str
    strategy: Strategy
    shots: int
    run_id: str
    metrics: dict[str, Interval]
    validation: dict[str, float]
    notes: dict[str, str]
    chosen: bool = False


class AdaptationPage(Record):
    """Everything the page of one adaptation shows; `lead` is its first line.

    `tested` says of how many test images the figures are, where these are not all. `version_page` is the link to the
    page of the version's run; empty where there is none.
    """

    source: str
    target: str
    lead: str
    reason: str
    guarantee: str
    with_labels: str | None
    data_version: str
    git_commit: str | None
    profile: str
    date: str
    version: int
    run_id: str
    used: str
    rows: tuple[AdaptedRow, ...]
    tested: str = ""
    failed: tuple[Failure, ...] = ()
    version_page: str = ""
    links: tuple[Link, ...] = ()


def lead_in_words(
    source: str, method: str, compared: str, *, scratch: bool, gain: Interval | None, on_test: bool
) -> str:
    """Say in one sentence what the source was worth, and what was chosen.

    Args:
        source: Name of the surface that was learnt from.
        method: What was chosen, as "ALGORITHM by STRATEGY".
        compared: The best of what did without the source, or, where `method` does without, of what learnt from it; ""
            where there is none.
        scratch: Whether `method` does without the source.
        gain: By how much the one that learnt from the source has a higher image AUROC than the other, -1 to 1; None
            where too few images tell.
        on_test: Whether `gain` is of the test split, and not of held-out images with synthetic anomalies.

    Returns:
        Plain text, not escaped.

    >>> gain = Interval(value=0.1, low=0.05, high=0.15)
    >>> lead_in_words("boards", "fastflow by finetune", "padim by scratch", scratch=False, gain=gain, on_test=True)
    'Learning from boards helped: fastflow by finetune ranks 0.100 (0.050 to 0.150) higher than padim by scratch \
(image AUROC on the test split); fastflow by finetune was chosen.'
    """
    if not compared:
        return f"{method} was chosen; nothing that it could be compared with came to an end."
    if gain is None:
        return f"{method} was chosen; with so few images nothing tells what {source} was worth."
    learnt, alone = (compared, method) if scratch else (method, compared)
    where = "the test split" if on_test else "held-out images with synthetic anomalies"
    if gain.value < 0:
        turned = Interval(value=-gain.value, low=_negative(gain.high), high=_negative(gain.low))
        words = f"{interval_in_words(turned)} lower"
    else:
        words = f"{interval_in_words(gain)} higher"
    figure = f"{learnt} ranks {words} than {alone} (image AUROC on {where}); {method} was chosen"
    if gain.low is not None and gain.low > 0:
        return f"Learning from {source} helped: {figure}."
    if gain.high is not None and gain.high < 0:
        return f"Learning from {source} harmed: {figure}."
    return f"Whether learning from {source} helped is not shown: {figure}."


def _negative(bound: float | None) -> float | None:
    return None if bound is None else -bound


def render_adaptation(page: AdaptationPage) -> str:
    """Render the page; every text is escaped."""
    return (
        page_environment()
        .get_template("adapt.html")
        .render(
            page=page,
            links=page.links,
            chart=draw_shots_chart(_lines(page.rows)),
            test_names=_names([row.metrics for row in page.rows]),
            validation_names=_names([row.validation for row in page.rows]),
            count=count_in_words,
        )
    )


def write_adaptation(page: AdaptationPage, folder: Path) -> Path:
    """Write index.html and, where the test split has figures, auroc.svg.

    Args:
        page: Its rows also give the chart.
        folder: Made where it is missing; files of these names are replaced.

    Returns:
        Path of index.html.
    """
    write_whole(folder / "index.html", render_adaptation(page))
    if chart := draw_shots_chart(_lines(page.rows)):
        write_whole(folder / "auroc.svg", str(chart))
    return folder / "index.html"


def _lines(rows: Sequence[AdaptedRow]) -> list[Line]:
    found: dict[tuple[str, Strategy], list[tuple[int, Interval]]] = {}
    for row in rows:
        if "image_auroc" in row.metrics:
            found.setdefault((row.algorithm, row.strategy), []).append((row.shots, row.metrics["image_auroc"]))
    return [Line(f"{a} {s}", tuple(sorted(points, key=lambda p: p[0]))) for (a, s), points in found.items()]


def _names(rows: Sequence[dict[str, Interval]] | Sequence[dict[str, float]]) -> dict[str, str]:
    return {name: title for name, title in METRIC_NAMES.items() if any(name in row for row in rows)}
