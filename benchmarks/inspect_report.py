"""One image of five megapixels from its file to its report, the model loaded, and where the time goes."""

from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from benchmarks.alternation import time_sides
from benchmarks.drawn_images import draw_slice, plan_slice
from benchmarks.effort import Effort
from benchmarks.figures import Figure, ratio_figure
from benchmarks.fresh_process import peak_mb
from benchmarks.inspect_large import train_model
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import RegionSettings
from pipelines.detector.detector import Detector
from pipelines.detector.version import VersionInfo
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.measures import measure_image
from pipelines.imaging.overlay import encode_picture, strip
from pipelines.inspection.inputs import find_images
from pipelines.inspection.inspect import inspect_images
from pipelines.inspection.showcase import Showcase
from pipelines.reports.inspection_page import InspectionPage, write_inspection_page

SUBJECT = "inspect-report"
_MEGAPIXELS = 200.0
_FLAGGED = 0.002  # share of the slice that its outlines enclose


def write_version(folder: Path) -> Path:
    """Fit a model of grid tiles and make it a version that finds the drawn slice anomalous."""
    train_model(folder)
    calibrated = CalibratedThreshold(threshold=0.0, target_rate=0.01, achieved_rate=0.01, images=99)
    info = VersionInfo(
        surface="slices",
        algorithm="padim",
        data_version="0" * 16,
        region=RegionSettings(rule="none"),
        plan=plan_slice(),
        score_rule=ScoreRule(),
        map_divisor=1,
        image_divisor=1,
        image_threshold=calibrated,
        pixel_threshold=calibrated.model_copy(update={"threshold": 1e9}),
    )
    (folder / "model.json").write_text(info.model_dump_json())
    level = float(np.quantile(Detector(folder).scan_region(draw_slice()).map, 1 - _FLAGGED))
    pixel = calibrated.model_copy(update={"threshold": level})
    (folder / "model.json").write_text(info.model_copy(update={"pixel_threshold": pixel}).model_dump_json())
    return folder


def report_file(detector: Detector, image: Path, out: Path) -> Path:
    """Inspect a file as `knotwatch inspect` does: its annotated picture, its defects, its report."""
    info = detector.info
    showcase = Showcase(info.pixel_threshold.threshold)
    for _ in inspect_images(detector, 1, find_images([image]), out, None, [showcase]):
        pass
    page = InspectionPage(
        surface=info.surface,
        model="slices/1 (padim)",
        data_version=info.data_version,
        date="today",
        image_threshold=info.image_threshold,
        pixel_threshold=info.pixel_threshold,
        anomalous_level=1.0,
        images=1,
        anomalous=1,
        shown=showcase.shown(),
    )
    return write_inspection_page(page, out / "report.html")


def report_in_process(model: str, image: str, out: str) -> None:
    """Load a version and report one file; runs in a process of its own."""
    report_file(Detector(Path(model)), Path(image), Path(out))


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Report a drawn slice in time, then in memory."""
    model, source_image = write_version(folder / "model"), folder / "slice.jpg"
    Image.fromarray(draw_slice()).save(source_image, quality=95)
    detector = Detector(model)
    image = decode_image(source_image, _MEGAPIXELS).image
    report_file(detector, source_image, folder / "out")
    seconds = time_sides(
        {
            "file to report": lambda: report_file(detector, source_image, folder / "out"),
            "scan": lambda: detector.scan(image),
        },
        effort.resamples,
    )
    peak = peak_mb(f"{__name__}:report_in_process", str(model), str(source_image), str(folder / "again"))
    against = "its scan alone, regions included"
    note = f"{_where_time_goes(detector, source_image)}; peak memory {peak:.0f} MB"
    ours, reference = seconds["file to report"], seconds["scan"]
    return [ratio_figure(SUBJECT, against, "s", ours=ours, reference=reference, note=note)]


def _where_time_goes(detector: Detector, source_image: Path) -> str:
    """Time the parts once each, in seconds."""
    started = perf_counter()
    image = decode_image(source_image, _MEGAPIXELS).image
    decoded = perf_counter()
    scan = detector.scan(image)
    scanned = perf_counter()
    measure_image(image)
    measured = perf_counter()
    encode_picture(strip(image, scan.map, detector.info.pixel_threshold.threshold, max_side=900))
    drawn = perf_counter()
    parts = {
        "decode": decoded - started,
        "scan": scanned - decoded,
        "measures": measured - scanned,
        "annotated picture": drawn - measured,
    }
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items())
