"""The page of one retrain run: one HTML file that needs no network and no script."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.core import wording
from pipelines.core.files import write_whole
from pipelines.core.records import Interval, Label, Record
from pipelines.core.results import (
    CalibratedThreshold,
    Evaluation,
    Selection,
    Trained,
    TypeFigures,
    ValidationReport,
)
from pipelines.core.wording import METRIC_NAMES, flatten, training_in_words
from pipelines.reports.charts.histogram import draw_score_chart
from pipelines.reports.pages import Link, page_environment


class PictureGroup(StrEnum):
    """Why a picture is shown."""

    MISS = "worst misses"
    FALSE_ALARM = "worst false alarms"
    HIT = "typical hits"


class Picture(Record):
    """One image's strip as a data URI, with its path relative to the project and its score."""

    group: PictureGroup
    path: str
    score: float
    data_uri: str = Field(pattern=r"^data:image/(png|jpeg);base64,[A-Za-z0-9+/]+=*$")
    defects: tuple[str, ...] = ()


class StageUse(Record):
    """What one stage took; memory is None where it was not measured."""

    stage: str
    seconds: float
    peak_memory_mb: float | None = None


class RunPage(Record):
    """Everything the page of one run shows.

    `version` and `git_commit` are None where there is none yet; `date` is already in words. `settings` may be nested.
    """

    surface: str
    algorithm: str
    version: str | None = None
    data_version: str
    git_commit: str | None = None
    profile: str
    date: str
    verdict: ValidationReport | None = None
    evaluation: Evaluation = Evaluation()
    types: TypeFigures | None = None
    image_threshold: CalibratedThreshold | None = None
    pixel_threshold: CalibratedThreshold | None = None
    pictures: tuple[Picture, ...] = ()
    stages: tuple[StageUse, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def model(self) -> str:
        return f"{self.algorithm} version {self.version}" if self.version else f"{self.algorithm}, unregistered,"

    def scores(self, label: str) -> list[float]:
        return [image.score for image in self.evaluation.images if image.label == label]


def _columns(rows: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    """List the metrics that any row has, in the usual order."""
    return [name for name in wording.METRIC_NAMES if any(name in metrics for metrics in rows.values())]


def render_run_page(page: RunPage) -> str:
    """Render the page; every text is escaped, and pictures are held as data URIs."""
    normal, anomalous = page.scores(Label.NORMAL), page.scores(Label.ANOMALOUS)
    shown = page.image_threshold is not None and bool(normal or anomalous)
    chart = (
        draw_score_chart(normal, anomalous, page.image_threshold.threshold) if shown and page.image_threshold else None
    )
    return (
        page_environment()
        .get_template("run.html")
        .render(
            page=page,
            links=page.links,
            summary=wording.summary(page.model, page.evaluation),
            names=wording.METRIC_NAMES,
            columns=_columns,
            guarantee=wording.threshold_in_words,
            types=wording.types_in_words(page.types),
            count=wording.count_in_words,
            chart=chart,
            groups=[(group, [p for p in page.pictures if p.group == group]) for group in PictureGroup],
            settings=list(flatten(page.settings)),
        )
    )


def write_run_page(page: RunPage, path: Path) -> Path:
    """Write the page of a run.

    Args:
        page: Its texts need not be escaped; its pictures are data URIs.
        path: The HTML file, replaced where it exists; its folders are made.

    Returns:
        `path`.
    """
    write_whole(path, render_run_page(page))
    return path


def describe_run(  # noqa: PLR0913 - one page says all of these, and every one is named
    *,
    surface: str,
    version: int | None,
    data_version: str,
    trained: Trained,
    selection: Selection,
    evaluation: Evaluation,
    verdict: ValidationReport,
    thresholds: tuple[CalibratedThreshold, CalibratedThreshold],
    settings: dict[str, object],
    profile: str,
    commit: str,
    types: TypeFigures | None = None,
    latency: str = "",
    links: tuple[Link, ...] = (),
) -> RunPage:
    """Gather what a run's page says, pictures excepted; the date is now, UTC.

    Args:
        surface: Name of the surface.
        version: Its number in the registry; None where it is not registered.
        data_version: Of the data set that was trained on.
        trained: The fit and what it cost.
        selection: Figures of the validation split.
        evaluation: Figures of the test split, and each of its images' scores.
        verdict: What validation made of the data set.
        thresholds: The image threshold and the pixel threshold, in that order.
        settings: All settings of the run, may be nested.
        profile: Name of the profile that was trained with.
        commit: Git commit of the project; empty where there is none.
        types: How well types are named; None where the version names none.
        latency: How long a megapixel takes, and how busy the machine was, in a sentence; empty where nothing was timed.
        links: To other pages, from the folder that this one is for.

    Returns:
        The page, with one line for each stage's time.
    """
    return RunPage(
        surface=surface,
        algorithm=trained.algorithm,
        version=None if version is None else str(version),
        data_version=data_version,
        git_commit=commit or None,
        profile=profile,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        verdict=verdict,
        evaluation=evaluation,
        types=types,
        image_threshold=thresholds[0],
        pixel_threshold=thresholds[1],
        stages=(
            StageUse(stage="train", seconds=trained.seconds, peak_memory_mb=trained.peak_rss_mb or None),
            StageUse(stage="validation", seconds=selection.seconds),
            StageUse(stage="evaluate", seconds=evaluation.seconds),
            *([StageUse(stage="types", seconds=types.seconds)] if types else []),
        ),
        settings=settings,
        links=links,
        notes=(*_selection_in_words(selection), *training_in_words(trained), *([latency] if latency else [])),
    )


def _selection_in_words(selection: Selection) -> tuple[str, ...]:
    said = []
    if selection.labelled_metrics:
        told = selection.labelled_metrics.items()
        figures = ", ".join(f"{METRIC_NAMES[name]} {wording.interval_in_words(figure)}" for name, figure in told)
        anomalies = wording.count_in_words(selection.labelled, "labelled anomaly")
        said.append(f"{anomalies} against its normal images gave {figures}")
    if selection.metrics:
        figures = ", ".join(f"{METRIC_NAMES[name]} {value:.3f}" for name, value in selection.metrics.items())
        synthetic = f"{selection.synthetic} synthetic anomalies added to {selection.images} normal images"
        said.append(f"{synthetic} gave {figures}")
    return (f"Choices are made on the validation split: {'; '.join(said)}.",) if said else ()
