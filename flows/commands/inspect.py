"""What `inspect` calls: a few images are answered one by one, a large batch becomes a table."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from flows.dataset.surface import prepared_images
from flows.runtime.champion import Loaded, find_champion, load_version
from flows.runtime.environment import log_to_terminal, prepare_environment
from flows.runtime.report_index import index_path, update_index
from flows.steps.results import InspectResult
from pipelines.core.errors import CallError
from pipelines.core.paths import Project, find_project
from pipelines.core.records import NORMAL, UNKNOWN
from pipelines.core.results import Inspected
from pipelines.detector.version import read_drift_reference
from pipelines.imaging.components import pixel_level
from pipelines.inspection.batch import Counts, Terms, open_batch
from pipelines.inspection.exports import Exports
from pipelines.inspection.history import write_batch
from pipelines.inspection.inputs import InputImage, find_images
from pipelines.inspection.inspect import InspectionOutcome, inspect_images
from pipelines.inspection.showcase import Showcase, draw_at_random
from pipelines.inspection.sinks import Sink, spare_inputs
from pipelines.reports.inspection_page import InspectionPage, usual_range, write_inspection_page
from pipelines.reports.overview.surface_card import InspectionNote
from pipelines.reports.pages import Link, link_up, link_version
from pipelines.tracking.store import Tracking


def write_report(project: Project, champion: Loaded, showcase: Showcase, counts: Counts, path: Path) -> Path:
    """Write the page of an inspection; images inside the project are named relative to it.

    Args:
        project: Its surface's images and example crops add the types that a reviewer can choose.
        champion: Version that scored the images.
        showcase: Images that are shown, and those that could not be read.
        counts: Of all images that were inspected, shown or not.
        path: HTML file to write; its folder is made where it is missing.

    Returns:
        `path`.
    """
    detector, info = champion.detector, champion.detector.info
    shown = tuple(s.model_copy(update={"path": _relative(s.path, project)}) for s in showcase.shown())
    named = {name for s in shown for d in s.defects for name in (d.type, *d.also) if name}
    known = {name for image in prepared_images(project, info.surface) for name in image.defects.values()}
    types = project.surface(info.surface).types
    known |= {folder.name for folder in types.iterdir()} if types.is_dir() else set()
    calibration = read_drift_reference(detector.folder)
    page = InspectionPage(
        surface=info.surface,
        model=champion.name,
        data_version=info.data_version,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        image_threshold=info.image_threshold,
        pixel_threshold=info.pixel_threshold,
        anomalous_level=pixel_level(info.pixel_threshold.threshold, info.defects, anomalous=True),
        images=counts.total,
        anomalous=counts.anomalous,
        unread=counts.unreadable,
        before=counts.before,
        shown=shown,
        unreadable=tuple(showcase.unreadable),
        usual=usual_range(calibration.measures) if calibration else {},
        types=tuple(sorted((named | known) - {NORMAL, UNKNOWN})),
        pixels_per_mm=info.defects.pixels_per_mm,
        links=_links(project.surface(info.surface).reports, path.resolve().parent, champion),
    )
    return write_inspection_page(page, path)


def _links(reports: Path, start: Path, champion: Loaded) -> tuple[Link, ...]:
    """Link to other pages from one among the surface's reports; a page that was put elsewhere may be sent away."""
    reports = reports.resolve()
    if not start.is_relative_to(reports):
        return ()
    above = link_version(reports, start, champion.run_id, f"version {champion.version}")
    return (link_up(reports, start), *above)


def _relative(path: str, project: Project) -> str:
    """Name an image so that a review finds it from anywhere: relative to the project, or absolute."""
    whole = Path(path).resolve()
    return whole.relative_to(project.root).as_posix() if whole.is_relative_to(project.root) else str(whole)


log = logging.getLogger(__name__)


def call_inspect(  # noqa: PLR0913 - one command has all of these as options
    surface: str,
    paths: list[Path],
    out: Path | None,
    maps: Path | None,
    exports: Exports,
    table: Path | None = None,
    review: int = 0,
    *,
    pictures: bool = True,
) -> InspectResult:
    """Inspect images with a surface's champion, and write what was seen into the surface's history.

    Args:
        surface: Surface that has a champion.
        paths: Images, and folders that are searched with all below them; they are only read.
        out: Folder of the annotated pictures and report.html; None is data/reports/SURFACE/inspect. Unused without
            `pictures`.
        maps: Folder for each anomaly map, float32 TIFF in the image's size; None writes none.
        exports: Further files of defects; COCO and CSV do not go with a `table`.
        table: Parquet file, one row an image; a stopped call goes on when it is repeated. None returns the images.
        review: Number of images, drawn at random, that the report shows besides those of the highest scores; 0 or more.
        pictures: Write annotated pictures and the report.

    Returns:
        Counts, thresholds and where results lie; `images` is empty with a `table`.

    Raises:
        CallError: If a path is not there or holds no image, results would be written over images, or a table is
            requested together with files that would hold a resumed batch's rest alone.
        ModelError: If the surface has no champion, or its files are gone or were changed.
        BusyError: If another process works on the table.
    """
    started = time.monotonic()
    project = find_project()
    log_to_terminal()
    prepare_environment(project)
    target = (out or project.surface(surface).reports / "inspect") if pictures else None
    if table is not None and exports.files:
        raise CallError(
            "--coco and --csv hold one call's images, a table may come of several",
            hint="leave --table out, or these two",
        )
    report = None if target is None else target / "report.html"
    folders = _Results(target, maps, exports).folders.values()
    source_images = find_images(paths, list(folders))
    spare_inputs(
        [Path(p.file) for p in source_images], [*exports.files, *([report] if report else [])], exports.folders
    )
    tracking = Tracking(project)
    champion = load_version(tracking, find_champion(project, tracking, surface))
    info = champion.detector.info
    drawn = draw_at_random((p.stem for p in source_images), review)
    showcase = None if report is None else Showcase(info.pixel_threshold.threshold, drawn)
    results = _Results(target, maps, exports, showcase)
    history = project.surface(surface).history
    images: tuple[Inspected, ...] = ()
    if table is None:
        images = _inspect_few(champion, source_images, results, history)
        counts = _count(images)
    else:
        counts = _inspect_batch(champion, source_images, results, table, history)
    if report is not None and showcase is not None:
        write_report(project, champion, showcase, counts, report)
    update_index(project, surface, tracking, inspection=_note(project, champion, counts, report))
    return InspectResult(
        surface=surface,
        model=champion.name,
        image_threshold=info.image_threshold.threshold,
        pixel_threshold=info.pixel_threshold.threshold,
        images=images,
        **counts.model_dump(),
        table=None if table is None else str(table),
        out=None if target is None else str(target),
        report=None if report is None else str(report),
        seconds=time.monotonic() - started,
    )


def _note(project: Project, champion: Loaded, counts: Counts, report: Path | None) -> InspectionNote:
    """Say of an inspection what the page of all results shows; a page that lies elsewhere is not linked."""
    reports = index_path(project).parent.resolve()
    whole = report.resolve() if report else None
    return InspectionNote(
        time=datetime.now(UTC),
        model=champion.name,
        images=counts.total,
        anomalous=counts.anomalous,
        unread=counts.unreadable,
        page=whole.relative_to(reports).as_posix() if whole and whole.is_relative_to(reports) else "",
    )


class _Results(NamedTuple):
    """Where the results of each image go, and what keeps some of them for the report."""

    out: Path | None
    maps: Path | None
    exports: Exports
    showcase: Showcase | None = None

    @property
    def folders(self) -> dict[str, Path]:
        named = {"out": self.out, "maps": self.maps, "masks": self.exports.masks, "crops": self.exports.crops}
        return {name: folder for name, folder in named.items() if folder}


def _inspect(champion: Loaded, images: list[InputImage], results: _Results) -> Iterator[InspectionOutcome]:
    sinks: list[Sink] = list(results.exports.open(champion.name))
    if results.showcase is not None:
        sinks.append(results.showcase)
    for found in inspect_images(champion.detector, champion.version, images, results.out, results.maps, sinks):
        if results.showcase is not None:
            results.showcase.note(found.inspected)
        yield found


def _inspect_few(champion: Loaded, images: list[InputImage], results: _Results, history: Path) -> tuple[Inspected, ...]:
    looked: list[InspectionOutcome] = []
    try:
        for found in _inspect(champion, images, results):
            looked.append(found)
    finally:
        # Also after Ctrl-C: what was seen was seen.
        write_batch(history, (found.observation for found in looked))
    return tuple(found.inspected for found in looked)


def _inspect_batch(champion: Loaded, images: list[InputImage], results: _Results, table: Path, history: Path) -> Counts:
    terms = Terms(
        surface=champion.detector.info.surface,
        version=champion.version,
        results={name: str(folder.absolute()) for name, folder in results.folders.items()},
    )
    with open_batch(table, terms, images, history) as batch:
        if len(batch.left) < len(images):
            log.info("%s: goes on with %d of %d images", table, len(batch.left), len(images))
        try:
            for found in _inspect(champion, batch.left, results):
                batch.add(found.inspected, found.observation)
        except KeyboardInterrupt:
            log.info("%s: the same command goes on from here", table)
            raise
        return batch.finish(history)


def _count(images: tuple[Inspected, ...]) -> Counts:
    return Counts(
        total=len(images),
        anomalous=sum(bool(image.anomalous) for image in images),
        unreadable=sum(image.error is not None for image in images),
    )
