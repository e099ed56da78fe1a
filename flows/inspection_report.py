"""The report of an inspection: what its page says besides the photographs."""

from datetime import UTC, datetime
from pathlib import Path

from flows.champion import Loaded
from flows.data import prepared_images
from pipelines.batch import Counts
from pipelines.defects.regions import pixel_level
from pipelines.defects.type_head import SOUND, UNKNOWN
from pipelines.loader import read_calibration
from pipelines.paths import Project
from pipelines.reports.inspection_page import InspectionPage, usual_range, write_inspection_page
from pipelines.reports.showcase import Showcase


def write_report(project: Project, champion: Loaded, showcase: Showcase, counts: Counts, path: Path) -> Path:
    """Write the page of an inspection; photographs inside the project are named relative to it."""
    detector, info = champion.detector, champion.detector.info
    shown = tuple(s.model_copy(update={"path": _relative(s.path, project)}) for s in showcase.shown())
    named = {name for s in shown for d in s.defects for name in (d.type, *d.also) if name}
    known = {name for image in prepared_images(project, info.surface) for name in image.defects.values()}
    types = project.surface(info.surface).types
    known |= {folder.name for folder in types.iterdir()} if types.is_dir() else set()
    calibration = read_calibration(detector.folder)
    page = InspectionPage(
        surface=info.surface,
        model=champion.name,
        data_version=info.data_version,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        image_promise=info.image_threshold,
        pixel_promise=info.pixel_threshold,
        anomalous_level=pixel_level(info.pixel_threshold.threshold, info.defects, anomalous=True),
        photographs=counts.photographs,
        anomalous=counts.anomalous,
        unread=counts.unreadable,
        before=counts.before,
        shown=shown,
        unreadable=tuple(showcase.unreadable),
        usual=usual_range(calibration.measures) if calibration else {},
        types=tuple(sorted((named | known) - {SOUND, UNKNOWN})),
        pixels_per_mm=info.defects.pixels_per_mm,
    )
    return write_inspection_page(page, path)


def _relative(path: str, project: Project) -> str:
    """Name a photograph so that a review finds it from anywhere: relative to the project, or absolute."""
    whole = Path(path).resolve()
    return whole.relative_to(project.root).as_posix() if whole.is_relative_to(project.root) else str(whole)
