"""The page of one retrain run: one HTML file that needs no network and no script."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from pipelines.core import wording
from pipelines.core.files import write_whole
from pipelines.core.paths import SurfacePaths
from pipelines.core.records import Interval, Label, Record
from pipelines.core.results import (
    CalibratedThreshold,
    Evaluation,
    ScoredImage,
    Selection,
    Trained,
    TypeFigures,
    ValidationReport,
)
from pipelines.core.wording import METRIC_NAMES, flatten, training_in_words
from pipelines.data.prepared import PreparedImage, read_index, read_mask, read_region
from pipelines.imaging.overlay import data_uri, encode_picture, strip
from pipelines.reports.charts import draw_score_chart
from pipelines.reports.pages import page_environment


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


# A strip holds three panels of this longer side; twenty-four of them stay below 5 MB a page.
_PANEL = 480


def write_pages(
    paths: SurfacePaths,
    run_id: str,
    page: RunPage,
    pixel_threshold: float,
    maps: Path,
    pictures: int,
) -> Path:
    """Write a run's page and its pictures as files below the surface's reports.

    Args:
        paths: The surface's: `prepared` must still hold the images of the evaluation.
        run_id: Names the folder of the run's reports.
        page: Without pictures, which are chosen here from its evaluation.
        pixel_threshold: On the scale of the maps.
        maps: Holds a region's map (H, W) for each image of the evaluation: N.npy is the N-th, counted from 0.
        pictures: How many each group shows at most: misses, false alarms and hits.

    Returns:
        The folder with index.html and the folder `pictures`.

    Raises:
        ToolError: If the table of prepared images is missing or damaged.
    """
    folder = paths.reports / run_id
    prepared = {image.path: image for image in read_index(paths.prepared)}
    shown: list[Picture] = []
    for group, number, scored in _choose(page.evaluation, pictures):
        encoded = _draw(paths.prepared, prepared[scored.path], maps / f"{number}.npy", pixel_threshold)
        name = f"{group.value.replace(' ', '-')}-{sum(p.group == group for p in shown) + 1}.jpg"
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / name).write_bytes(encoded)
        uri = data_uri(encoded)
        shown.append(Picture(group=group, path=scored.path, score=scored.score, data_uri=uri, defects=scored.defects))
    write_run_page(page.model_copy(update={"pictures": tuple(shown)}), folder / "index.html")
    return folder


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
            StageUse(stage="train", seconds=trained.seconds, peak_memory_mb=trained.peak_rss_mb),
            StageUse(stage="validation", seconds=selection.seconds),
            StageUse(stage="evaluate", seconds=evaluation.seconds),
            *([StageUse(stage="types", seconds=types.seconds)] if types else []),
        ),
        settings=settings,
        notes=(*_selection_in_words(selection), *training_in_words(trained)),
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


def _choose(evaluation: Evaluation, pictures: int) -> Iterator[tuple[PictureGroup, int, ScoredImage]]:
    """Choose the worst misses and false alarms, and hits from the middle of their scores."""
    numbered = list(enumerate(evaluation.images))

    def among(test: Callable[[ScoredImage], bool], *, rising: bool) -> list[tuple[int, ScoredImage]]:
        return sorted((p for p in numbered if test(p[1])), key=lambda p: p[1].score if rising else -p[1].score)

    misses = among(lambda s: s.label == Label.ANOMALOUS and not s.anomalous, rising=True)
    alarms = among(lambda s: s.label == Label.NORMAL and s.anomalous, rising=False)
    hits = among(lambda s: s.label == Label.ANOMALOUS and s.anomalous, rising=False)
    groups = (
        (PictureGroup.MISS, misses),
        (PictureGroup.FALSE_ALARM, alarms),
        (PictureGroup.HIT, _middle(hits, pictures)),
    )
    for group, found in groups:
        for number, scored in found[:pictures]:
            yield group, number, scored


def _middle(found: Sequence[tuple[int, ScoredImage]], count: int) -> list[tuple[int, ScoredImage]]:
    start = max(0, (len(found) - count) // 2)
    return list(found[start : start + count])


def _draw(prepared: Path, image: PreparedImage, spooled: Path, pixel_threshold: float) -> bytes:
    box = image.box
    mask = read_mask(prepared, image)[box.top : box.bottom, box.left : box.right] > 0
    picture = strip(read_region(prepared, image), np.load(spooled), pixel_threshold, mask, _PANEL)
    return encode_picture(picture)
