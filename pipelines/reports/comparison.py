"""The page of one retrain: its algorithms side by side, and which one is proposed."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from pipelines.core import wording
from pipelines.core.files import write_whole
from pipelines.core.records import Interval, Record
from pipelines.core.results import CalibratedThreshold, Evaluation, Failure, Selection, Trained, VersionSummary
from pipelines.reports.pages import Link, page_environment
from pipelines.reports.side_by_side import ImageSeen
from pipelines.training.choosing.figures import LABELLED, flatten_selection, read_labelled


class ComparisonPage(Record):
    """Everything the page of one retrain shows. `reused` names versions that an earlier retrain had trained.

    `decided` says what the gate made of the proposal, and what is in use since. `pages` are links to the pages of the
    versions' runs by run, `side_by_side` the same images as each algorithm sees them.
    """

    surface: str
    data_version: str
    git_commit: str | None = None
    profile: str
    date: str
    models: tuple[VersionSummary, ...]
    failed: tuple[Failure, ...] = ()
    reused: tuple[str, ...] = ()
    proposed: str | None = None
    reason: str = ""
    decided: str = ""
    pages: dict[str, str] = Field(default_factory=dict)
    side_by_side: tuple[ImageSeen, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def outcome(self) -> str:
        """Say in a line what the retrain came to."""
        failed = [f"{failure.algorithm} failed" for failure in self.failed]
        said = self.decided or (f"{self.proposed} is proposed" if self.proposed else "")
        return "; ".join([said] * bool(said) + failed) or "nothing is proposed"


def summarise(  # noqa: PLR0913 - a summary is of all of these
    *,
    run_id: str,
    version: int | None,
    trained: Trained,
    selection: Selection,
    evaluation: Evaluation,
    image_threshold: CalibratedThreshold,
    folder_mb: float,
    latency_ms: float | None = None,
    busy: str = "",
) -> VersionSummary:
    """Gather one version's figures.

    Args:
        run_id: Of the MLflow run that trained it.
        version: Its number in the registry; None where it is not registered.
        trained: The fit and what it cost.
        selection: Figures of the validation split.
        evaluation: Figures of the test split.
        image_threshold: On the version's scale, with the rate that it was set for.
        folder_mb: Size of all that the version stores, MB of 10^6 bytes.
        latency_ms: Milliseconds that a megapixel of region takes; None where nothing was timed.
        busy: How busy the machine was while that was timed, where other work ran.

    Returns:
        The summary, without the single images' scores.
    """
    return VersionSummary(
        algorithm=trained.algorithm,
        version=version,
        run_id=run_id,
        metrics=evaluation.metrics,
        validation=flatten_selection(selection),
        image_threshold=image_threshold,
        tiles=trained.tiles,
        seconds=trained.seconds,
        peak_rss_mb=trained.peak_rss_mb,
        precision=trained.precision,
        folder_mb=folder_mb,
        latency_ms=latency_ms,
        busy=busy,
        notes=trained.notes,
    )


def folder_size_mb(folder: Path) -> float:
    """Add up a folder's files, MB (of 10^6 bytes, as file managers count)."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def _names(rows: Sequence[dict[str, Interval]] | Sequence[dict[str, float]]) -> dict[str, str]:
    """Name the metrics that any of the models has, in the usual order."""
    return {name: title for name, title in wording.METRIC_NAMES.items() if any(name in row for row in rows)}


def render_comparison(page: ComparisonPage) -> str:
    """Render the page; every text is escaped, links lead to the pages beside it."""
    labelled = [read_labelled(model.validation) for model in page.models]
    return (
        page_environment()
        .get_template("comparison.html")
        .render(
            page=page,
            links=page.links,
            test_names=_names([m.metrics for m in page.models]),
            validation_names=_names([m.validation for m in page.models]),
            labelled=labelled,
            labelled_names=_names(labelled),
            anomalies=max((int(m.validation.get(LABELLED, 0)) for m in page.models), default=0),
            guarantee=wording.threshold_in_words,
            count=wording.count_in_words,
        )
    )


def write_comparison(page: ComparisonPage, path: Path) -> Path:
    """Write the page of a retrain.

    Args:
        page: Its texts need not be escaped.
        path: The HTML file, replaced where it exists; its folders are made.

    Returns:
        `path`.
    """
    write_whole(path, render_comparison(page))
    return path
