"""Whether a version's maps and regions of interest lie where the surface's own images have them."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import KnotwatchError
from pipelines.core.paths import SurfacePaths
from pipelines.core.progress import waiting
from pipelines.core.records import Interval, Split
from pipelines.core.surface_settings import RegionSettings
from pipelines.core.wording import count_in_words
from pipelines.data.prepared import PreparedImage
from pipelines.data.review_ledger import raw_file
from pipelines.detector.detector import Detector, Scan
from pipelines.imaging.decoding import decode_image
from pipelines.registry.decision import CheckResult

_CHECKED = 3


def check_coordinates(
    detector: Detector, paths: SurfacePaths, rule: RegionSettings, images: Sequence[PreparedImage]
) -> CheckResult:
    """Scan a few of the surface's images from their files, and set maps and regions against what is prepared.

    Args:
        detector: The candidate.
        paths: The surface's; images are read from its source and ledger.
        rule: The surface's present rule for the region of interest.
        images: All that is prepared. The first three of the test split are scanned, without any the first three of all.

    Returns:
        All problems in words; an image that cannot be read is one of them, nothing is raised.
    """
    problems, info = [], detector.info
    if info.surface != paths.name:
        problems.append(f"it was made for the surface '{info.surface}'")
    if info.region != rule:
        problems.append(f"its rule for the region of interest is '{info.region.rule}', the surface's '{rule.rule}'")
    chosen = [i for i in images if i.split == Split.TEST][:_CHECKED] or list(images)[:_CHECKED]
    with waiting("gate, maps and regions of whole images"):
        for image in chosen:
            try:
                source_image = decode_image(raw_file(paths.source, image.path), info.max_megapixels)
                problems += _misplaced(detector.scan(source_image.image), image)
            except (KnotwatchError, OSError) as error:
                problems.append(f"{image.path}: {getattr(error, 'problem', error)}")
    return CheckResult.of(problems, f"maps and regions of {count_in_words(len(chosen), 'image')} lie where they should")


def _misplaced(scan: Scan, image: PreparedImage) -> Iterator[str]:
    height, width = scan.map.shape
    if (height, width) != (image.height, image.width):
        yield f"the map of {image.path} is {width} x {height}, the image {image.width} x {image.height}"
        return
    if scan.region != image.box:
        yield f"the region of interest of {image.path} is {tuple(scan.region)}, prepared is {tuple(image.box)}"
    if not (np.isfinite(scan.map).all() and scan.map.min() >= 0):
        yield f"the map of {image.path} is not finite and >= 0"
    outside = scan.map.copy()
    outside[scan.region.top : scan.region.bottom, scan.region.left : scan.region.right] = 0
    if outside.any():
        yield f"the map of {image.path} is not 0 outside the region of interest"


_WARM_UP, _LEAST, _MOST = 2, 6, 100
_LONGEST_TIMING = 30.0  # seconds; the least number of turns is always measured
_RESAMPLES = 1000

Regions = Sequence[NDArray[np.uint8]]


def latency_ratio(candidate: Detector, champion: Detector, regions: Regions) -> Interval | None:
    """Measure the candidate's p95 over the champion's, with its 95 % interval.

    Both take turns, so that whatever else the machine does slows them alike. It still stirs the p95 of one more than
    that of the other: the interval, a bootstrap over the turns (Efron, Tibshirani 1993), tells by how much.

    Args:
        candidate: Its time stands above the line.
        champion: Its time stands below the line.
        regions: Regions of interest, RGB, uint8, shape (height, width, 3), shown in turn; may be empty.

    Returns:
        The ratio over 6 to 100 turns, as many as start within 30 seconds, above 1 where the candidate is slower; None
        without a region.

    Raises:
        ScoreError: If one of them gives a score or map that is not finite.
    """
    if not regions:
        return None
    for number in range(_WARM_UP):
        candidate.scan_region(regions[number % len(regions)])
        champion.scan_region(regions[number % len(regions)])
    started = time.perf_counter()
    turns: list[tuple[float, float]] = []
    while len(turns) < _LEAST or (len(turns) < _MOST and time.perf_counter() - started < _LONGEST_TIMING):
        # Two at a time: each region once with either first.
        turns += [_time_both(candidate, champion, regions, len(turns) + number) for number in range(2)]
    seconds = np.array(turns)
    drawn = np.random.default_rng(0).integers(len(turns), size=(_RESAMPLES, len(turns)))
    low, high = np.quantile(_p95_ratio(seconds[drawn]), (0.025, 0.975))
    return Interval(value=float(_p95_ratio(seconds)), low=float(low), high=float(high))


def _p95_ratio(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ratios (...) of turns (..., turns, 2)."""
    ours, theirs = np.moveaxis(np.quantile(seconds, 0.95, axis=-2), -1, 0)
    return np.asarray(ours / theirs)


def _time_both(candidate: Detector, champion: Detector, regions: Regions, number: int) -> tuple[float, float]:
    """Time one region by both, seconds; who comes first changes, because a second reading finds caches warm."""
    region = regions[number // 2 % len(regions)]
    pair = (candidate, champion) if number % 2 else (champion, candidate)
    taken = {}
    for detector in pair:
        started = time.perf_counter()
        detector.scan_region(region)
        taken[id(detector)] = time.perf_counter() - started
    return taken[id(candidate)], taken[id(champion)]


_LONGEST = 180.0  # seconds; loading takes 2 on a quiet machine
_SAID = 600  # characters


def reproduce(folder: Path, registered: str = "", seconds: float = _LONGEST) -> CheckResult:
    """Have a fresh process load a model folder and score its reference tiles.

    Args:
        folder: A version's model folder.
        registered: The registry's SHA-256 of the folder's list of checksums, empty where it keeps none.
        seconds: After so many the process is ended.

    Returns:
        Whether all tiles came out as stored, and what the process said; nothing is raised for a damaged version.
    """
    command = [sys.executable, "-m", "pipelines.registry.checks", str(folder), registered]
    try:
        with waiting("gate, load in a fresh process"):
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return CheckResult(
            ok=False, message=f"it did not load and score its reference tiles within {seconds:g} seconds"
        )
    said = (done.stdout.strip() or done.stderr.strip().rpartition("\n")[2])[:_SAID]
    return CheckResult(ok=done.returncode == 0, message=said or f"the process ended with {done.returncode}")


def _main(folder: Path, registered: str) -> int:
    try:
        detector = Detector(folder, registered=registered)
        if not detector.references:
            print("it stores no reference tiles")  # noqa: T201 - read by `reproduce`
            return 1
        detector.check_references()
    except (KnotwatchError, OSError) as error:
        print(getattr(error, "problem", error))  # noqa: T201 - read by `reproduce`
        return 1
    print(f"loaded and reproduced {detector.references} reference tiles")  # noqa: T201 - read by `reproduce`
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2]))
