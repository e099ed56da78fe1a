"""A registered version, ready to inspect images: map, score, verdict and named defects."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ModelError, ScoreError
from pipelines.core.geometry import Box, Defect
from pipelines.detector.checksums import check_folder
from pipelines.detector.members import check_references, count_references, open_parts
from pipelines.detector.scan import RegionScan, Wrap, scan_parts
from pipelines.detector.types import Sorted, blank_regions, find_namer
from pipelines.detector.version import read_info
from pipelines.imaging.components import find_defects, pixel_level, trim_regions
from pipelines.imaging.image_score import border_width, image_score, inner_part, score_level
from pipelines.imaging.roi import find_region
from pipelines.metrics.normalization import block_peaks, per_image_scale
from pipelines.models.openvino.runtime import DEVICE, PROCESSOR

# How much higher than usual the median of a map is where another species is photographed: planed oak against walnut and
# alder, of features that know neither, 1.16 and more; images of one species differ by some per cent.
_OUT_OF_DISTRIBUTION = 1.15


class Judged(NamedTuple):
    """What a region's map comes to: score, verdict and defects, and how many regions were judged normal and
    left out.
    """

    score: float
    anomalous: bool
    defects: tuple[Defect, ...]
    normal_regions: int


class Scan(NamedTuple):
    """An image's anomaly map (H, W) float32, 0 outside `region`; its score, verdict and defects.

    `normal_regions` regions were judged normal: the map still shows them, but score, verdict and defects leave them
    out. `out_of_distribution` says that the image is out of distribution: of no domain that was trained on (trained
    without labels only).
    """

    map: NDArray[np.float32]
    score: float
    anomalous: bool
    region: Box
    defects: tuple[Defect, ...] = ()
    normal_regions: int = 0
    out_of_distribution: bool = False


class Detector:
    """A registered version, ready to look at images.

    Its files must be those that were registered; `registered` is the registry's word for them, where that is known. On
    another device than the processor it first shows that it scores its reference tiles as it did when it was made.

    Raises:
        ModelError: where the folder holds no version, a damaged one, or one that scores otherwise on such a device.
    """

    def __init__(self, folder: Path, device: str = PROCESSOR, registered: str = "") -> None:
        self.folder = folder
        # Before anything is made of them: a damaged network can end the process that loads it.
        check_folder(folder, registered)
        self.info = read_info(folder)
        self._parts = open_parts(folder, self.info.members, self.info.plan, self.info.precision, device)
        self._namer = find_namer(folder)
        if device != PROCESSOR:
            self._check_device(device)

    @property
    def references(self) -> int:
        """Number of reference tiles that the version can check itself by."""
        return count_references(self.folder, self.info)

    def scan_region(
        self, region: NDArray[np.uint8], wrap: Wrap | None = None, *, leave_out: bool = False
    ) -> RegionScan:
        """Scan a prepared region.

        Args:
            region: Region of interest, RGB, uint8, shape (height, width, 3), of any size.
            wrap: Puts a network before each of the version's, such as one that remembers tiles. None: none.
            leave_out: Of an ensemble, also give the scores without each member.

        Returns:
            Map (height, width) and score, both on the version's scale. No verdict is given and no region left out yet.

        Raises:
            ScoreError: If score or map is not finite.
        """
        raw = scan_parts(self._parts, self.info.score_rule, region, wrap, leave_out=leave_out)
        scaled = raw.map / np.float32(self.info.map_divisor)
        score = raw.score / self.info.image_divisor
        self._check_finite(scaled, score)
        usual = self.info.normal_peak
        image_scale = 1.0 if usual is None else per_image_scale(block_peaks(scaled), usual)
        if image_scale > 1:
            scaled /= np.float32(image_scale)
        without = tuple(one / self.info.image_divisor / image_scale for one in raw.without)
        return RegionScan(scaled, score / image_scale, image_scale, without)

    def _check_finite(self, region_map: NDArray[np.float32], score: float) -> None:
        """Raise ScoreError for what is above no threshold and below none: every verdict on it would be "good"."""
        if not (np.isfinite(score) and np.isfinite(region_map).all()):
            raise ScoreError(
                f"the model of '{self.info.surface}' in {self.folder} gives a score or map that is not finite",
                hint="its files are damaged or it was badly fitted: return to another version, or retrain",
            )

    def scan(self, image: NDArray[np.uint8], wrap: Wrap | None = None) -> Scan:
        """Scan an image as a person sees it.

        The verdict is the image score's alone: defects say where to look, and now and then a normal image has one.

        Args:
            image: RGB, uint8, shape (height, width, 3), turned upright; the region of interest is found in it.
            wrap: Puts a network before each of the version's, such as one that remembers tiles. None: none.

        Returns:
            Map, score and verdict of the whole image; boxes and outlines are in pixels of `image`.

        Raises:
            ImageError: If the surface's fixed region of interest lies outside of the image.
            ScoreError: If score or map is not finite.
        """
        box = find_region(image, self.info.region)
        region = image[box.top : box.bottom, box.left : box.right]
        found = self.scan_region(region, wrap)
        judged = self.judge(region, found)
        whole = np.zeros(image.shape[:2], np.float32)
        whole[box.top : box.bottom, box.left : box.right] = found.map
        defects = tuple(_move(defect, box) for defect in judged.defects)
        return Scan(
            whole,
            judged.score,
            judged.anomalous,
            box,
            defects,
            judged.normal_regions,
            self._is_out_of_distribution(found),
        )

    def _is_out_of_distribution(self, found: RegionScan) -> bool:
        """Tell whether the whole image is more unusual than those that were trained on, not only places of it."""
        usual = self.info.usual_level
        return usual is not None and found.image_scale * float(np.median(found.map)) > _OUT_OF_DISTRIBUTION * usual

    def judge(self, region: NDArray[np.uint8], found: RegionScan) -> Judged:
        """Find and name the defects of a region, and give the verdict without what is normal after all.

        The threshold was set with nothing left out: leaving out can only lower a score, so the guarantee holds.

        Args:
            region: Region of interest, RGB, uint8, shape (height, width, 3).
            found: Its map and score by `scan_region`, on the version's scale; not changed.

        Returns:
            Score and verdict; defects have the highest peak first, boxes and outlines in pixels of `region`.

        Raises:
            ScoreError: If what names types gives a probability that is not finite.
        """
        anomalous = self.is_anomalous(found.score)
        regions = self.find_regions(found.map, anomalous=anomalous)
        # What is normal is blanked with all that it spreads to; what is drawn keeps closer to the peaks.
        named = self._namer.sort(region, regions) if self._namer else Sorted(regions, ())
        defects = self.trim_regions(found.map, named.defects, anomalous=anomalous)
        if not named.normal_regions:
            return Judged(found.score, anomalous, defects, 0)
        left = image_score(blank_regions(found.map, named.normal_regions), self.info.score_rule)
        score = left * self.info.map_divisor / self.info.image_divisor
        return Judged(score, self.is_anomalous(score), defects, len(named.normal_regions))

    def trim_regions(
        self, region_map: NDArray[np.float32], defects: tuple[Defect, ...], *, anomalous: bool
    ) -> tuple[Defect, ...]:
        """Draw a region's defects closer around their peaks.

        Args:
            region_map: The map that `find_regions` was given; not changed.
            defects: From there, possibly named since.
            anomalous: The same as there.

        Returns:
            See `pipelines.imaging.components.trim_regions`.
        """
        level = pixel_level(self.info.pixel_threshold.threshold, self.info.defects, anomalous=anomalous)
        return trim_regions(region_map, defects, level, self.info.defects)

    def find_regions(self, region_map: NDArray[np.float32], *, anomalous: bool) -> tuple[Defect, ...]:
        """List a region's defects; where an anomalous one has none, those pixels that made its score what it is.

        The pixel threshold may exceed every pixel of a faint but wide defect, which the image score still sees.

        Args:
            region_map: Map of the region of interest, float32, (height, width), on the version's scale; not changed.
            anomalous: The verdict on the region: an anomalous one is searched more closely.

        Returns:
            The highest peak first, not named; boxes and outlines in pixels of the map.
        """
        rule, settings = self.info.score_rule, self.info.defects
        level = pixel_level(self.info.pixel_threshold.threshold, settings, anomalous=anomalous)
        defects = find_defects(region_map, level, settings)
        if defects or not anomalous:
            return defects
        border = border_width(region_map, rule)
        # At this level itself, so that the pixels are exactly those: no spreading.
        lowest = np.nextafter(np.float32(score_level(region_map, rule)), np.float32(0))
        exactly = settings.model_copy(update={"low": 1.0})
        return find_defects(inner_part(region_map, rule), float(lowest), exactly, (border, border))

    def is_anomalous(self, score: float) -> bool:
        """Give the verdict: the one function that calibration sets the threshold for."""
        return score > self.info.image_threshold.threshold

    def _check_device(self, device: str) -> None:
        if not self.references:
            raise ModelError(
                f"{self.folder} has no reference tiles, so that nothing tells whether {device} scores as it should",
                hint=f"unset {DEVICE}, or retrain",
            )
        try:
            self.check_references()
        except ModelError as error:
            raise ModelError(f"on {device}, {error.problem}", hint=f"unset {DEVICE}") from error

    def check_references(self, tolerance: float | None = None) -> None:
        """Score the stored reference tiles again; the relative tolerance is that of each network's precision.

        Raises:
            ModelError: where a tile's raw map does not come out as it did when the version was made.
        """
        check_references(self.folder, self.info, self._parts, tolerance)


def _move(defect: Defect, region: Box) -> Defect:
    """Bring a defect from pixels of the region of interest to those of the image."""
    x, y = region.left, region.top
    left, top, right, bottom = defect.box
    moved = {
        "box": Box(left + x, top + y, right + x, bottom + y),
        "outline": tuple((px + x, py + y) for px, py in defect.outline),
    }
    return defect.model_copy(update=moved)
