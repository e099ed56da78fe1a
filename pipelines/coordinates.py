"""Whether a version's maps and regions of interest lie where the surface's own photographs have them."""

from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.config import RegionSettings
from pipelines.decision import Finding
from pipelines.errors import KnotwatchError
from pipelines.imaging.decoding import decode_photograph
from pipelines.loader import Detector, Scan
from pipelines.paths import SurfacePaths
from pipelines.prepared import PreparedImage
from pipelines.records import Part
from pipelines.reports.wording import count_in_words
from pipelines.sources.reviews import raw_file

_LOOKED_AT = 3


def check_coordinates(
    detector: Detector, paths: SurfacePaths, rule: RegionSettings, images: Sequence[PreparedImage]
) -> Finding:
    """Scan a few of the surface's photographs from their files, and set maps and regions against what is prepared."""
    problems, info = [], detector.info
    if info.surface != paths.name:
        problems.append(f"it was made for the surface '{info.surface}'")
    if info.region != rule:
        problems.append(f"its rule for the region of interest is '{info.region.rule}', the surface's '{rule.rule}'")
    chosen = [i for i in images if i.part == Part.TEST][:_LOOKED_AT] or list(images)[:_LOOKED_AT]
    for image in chosen:
        try:
            photograph = decode_photograph(raw_file(paths.source, image.path), info.max_megapixels)
            problems += _misplaced(detector.scan(photograph.image), image)
        except (KnotwatchError, OSError) as error:
            problems.append(f"{image.path}: {getattr(error, 'problem', error)}")
    return Finding.of(
        problems, f"maps and regions of {count_in_words(len(chosen), 'photograph')} lie where they should"
    )


def _misplaced(scan: Scan, image: PreparedImage) -> Iterator[str]:
    height, width = scan.map.shape
    if (height, width) != (image.height, image.width):
        yield f"the map of {image.path} is {width} x {height}, the photograph {image.width} x {image.height}"
        return
    if scan.region != image.box:
        yield f"the region of interest of {image.path} is {tuple(scan.region)}, prepared is {tuple(image.box)}"
    if not (np.isfinite(scan.map).all() and scan.map.min() >= 0):
        yield f"the map of {image.path} is not finite and >= 0"
    outside = scan.map.copy()
    outside[scan.region.top : scan.region.bottom, scan.region.left : scan.region.right] = 0
    if outside.any():
        yield f"the map of {image.path} is not 0 outside the region of interest"
