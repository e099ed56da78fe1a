"""The page of one retrain run: one HTML file that needs no network and no script."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from pipelines.records import Evaluation, Interval, Label, Promise, Record, TypeFigures, Verdict
from pipelines.reports import wording
from pipelines.reports.environment import page_environment
from pipelines.reports.score_chart import draw_score_chart


class PictureGroup(StrEnum):
    """Why a picture is shown."""

    MISS = "worst misses"
    FALSE_ALARM = "worst false alarms"
    HIT = "typical hits"


class Picture(Record):
    """One photograph's strip as a data URI, with its path relative to the project and its score."""

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
    verdict: Verdict | None = None
    evaluation: Evaluation = Evaluation()
    types: TypeFigures | None = None
    image_promise: Promise | None = None
    pixel_promise: Promise | None = None
    pictures: tuple[Picture, ...] = ()
    stages: tuple[StageUse, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        return f"{self.algorithm} version {self.version}" if self.version else f"{self.algorithm}, unregistered,"

    def scores(self, label: str) -> list[float]:
        return [image.score for image in self.evaluation.images if image.label == label]


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List nested settings as dotted keys with their values.

    >>> dict(flatten({"seed": 0, "padim": {"features": 100}}))
    {'seed': 0, 'padim.features': 100}
    """
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _columns(rows: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    """List the metrics that any row has, in the usual order."""
    return [name for name in wording.METRIC_NAMES if any(name in metrics for metrics in rows.values())]


def render_run_page(page: RunPage) -> str:
    """Render the page; every text is escaped, and pictures are held as data URIs."""
    normal, anomalous = page.scores(Label.NORMAL), page.scores(Label.ANOMALOUS)
    shown = page.image_promise is not None and bool(normal or anomalous)
    chart = draw_score_chart(normal, anomalous, page.image_promise.threshold) if shown and page.image_promise else None
    return (
        page_environment()
        .get_template("run.html")
        .render(
            page=page,
            summary=wording.summary(page.model, page.evaluation),
            names=wording.METRIC_NAMES,
            columns=_columns,
            promise=wording.promise_in_words,
            types=wording.types_in_words(page.types),
            count=wording.count_in_words,
            chart=chart,
            groups=[(group, [p for p in page.pictures if p.group == group]) for group in PictureGroup],
            settings=list(flatten(page.settings)),
        )
    )


def write_run_page(page: RunPage, path: Path) -> Path:
    """Write the page to `path`, whose folders are made, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_run_page(page), encoding="utf-8")
    return path
