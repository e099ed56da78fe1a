"""What a registered model names to be loaded by: inspection, serving and evaluation all go through this file.

This module's name and the schema of model.json never break: registered models name both.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError, model_validator

from pipelines.checksums import FILE as CHECKSUMS
from pipelines.checksums import check_folder, read_checked
from pipelines.config import DefectSettings, RegionSettings
from pipelines.defects.naming import blank_regions, find_namer
from pipelines.defects.regions import find_defects, pixel_level
from pipelines.errors import ModelError, ScoreError
from pipelines.imaging.decoding import decode_photograph
from pipelines.imaging.region import find_region
from pipelines.imaging.scoring import ScoreRule, border_width, image_score, inner_part, score_level
from pipelines.imaging.tiling import Stitcher, cut_tiles
from pipelines.inside import InsidePath, inside
from pipelines.metrics.peaks import Reach, block_peaks, own_scale
from pipelines.models.runtime import DEVICE, PROCESSOR, TileModel
from pipelines.records import Box, Defect, FiniteRecord, Precision, Promise, TilePlan

SCHEMA = 1
CALIBRATION = "calibration.json"
# How much higher than usual the median of a map is where another species is photographed: planed oak against walnut and
# alder, of features that know neither, 1.16 and more; photographs of one species differ by some per cent.
_FOREIGN = 1.15
# How far mean and peak of a reference tile's map may lie from what was stored: another processor adds up in another
# order, and one without a version's precision computes it in float32. Measured on sound and defective tiles of PaDiM
# and EfficientAD: bf16 against float32 up to 2.1 % in the peak. int8 sums exactly where the processor has instructions
# for it; others may saturate.
TOLERANCES = {Precision.F32: 1e-3, Precision.BF16: 3e-2, Precision.INT8: 5e-2}

log = logging.getLogger(__name__)


class Reference(FiniteRecord):
    """A tile stored with the version, and the mean and peak of its raw map: what any machine can check itself by."""

    file: InsidePath = Field(pattern=r"^[\w-]+\.png$")  # a name, never a path
    mean: float
    peak: float


class VersionInfo(FiniteRecord):
    """model.json: all of a version that is not its network. `precision` is what its scores were made with.

    A version that was trained without labels has `usual_level`, the highest median of a map among its photographs, and
    `usual_reach`, how high the sound surface of the median one reaches; older ones have no `usual_reach`.
    `usual_pixels` is the size of the largest photograph that it was trained on; older ones have none.
    """

    schema_version: int = Field(default=SCHEMA, le=SCHEMA)
    surface: str
    algorithm: str
    data_version: str
    precision: Precision = Precision.F32
    region: RegionSettings
    max_megapixels: float = Field(default=200.0, gt=0)
    plan: TilePlan
    score_rule: ScoreRule
    map_divisor: float = Field(gt=0)
    image_divisor: float = Field(gt=0)
    image_threshold: Promise
    pixel_threshold: Promise
    defects: DefectSettings = DefectSettings()
    usual_level: float | None = None
    usual_reach: Reach | None = None
    usual_pixels: int | None = None
    references: tuple[Reference, ...] = ()

    @model_validator(mode="after")
    def _tiles_cover_the_region(self) -> "VersionInfo":
        if not self.plan.covers:
            raise ValueError("plan: the strides of a grid lie between 1 and the tile's side")
        return self


class Calibration(FiniteRecord):
    """calibration.json: what the calibrate part looked like, for later photographs to be compared with.

    `scores` are on the version's scale; empty where no sound photograph was held out. `measures` are those of the
    regions of interest (pipelines/imaging/measures.py), a list for each measure.
    """

    scores: tuple[float, ...] = ()
    measures: dict[str, tuple[float, ...]] = Field(default_factory=dict)


class RegionScan(NamedTuple):
    """A region's map (H, W) float32 and its image score, raw or on the version's scale.

    Both were divided by `lowered` where the photograph's sound surface reaches higher than usual.
    """

    map: NDArray[np.float32]
    score: float
    lowered: float = 1.0


class Judged(NamedTuple):
    """What a region's map comes to: score, verdict and defects, and how many regions were judged sound and left out."""

    score: float
    anomalous: bool
    defects: tuple[Defect, ...]
    sound: int


class Scan(NamedTuple):
    """A photograph's anomaly map (H, W) float32, 0 outside `region`; its score, verdict and defects.

    `sound` regions were judged sound: the map still shows them, but score, verdict and defects leave them out.
    `foreign` says that the photograph belongs to no kind of surface that was trained on (trained without labels only).
    """

    map: NDArray[np.float32]
    score: float
    anomalous: bool
    region: Box
    defects: tuple[Defect, ...] = ()
    sound: int = 0
    foreign: bool = False


class MapsTiles(Protocol):
    """Anything that gives raw maps (n, h, w) float32 of tiles (n, h, w, 3) uint8."""

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]: ...


def scan_region(model: MapsTiles, plan: TilePlan, rule: ScoreRule, region: NDArray[np.uint8]) -> RegionScan:
    """Scan a region of interest (H, W, 3) tile by tile; the result is raw, not on a version's scale."""
    stitcher = Stitcher(plan, region.shape[0], region.shape[1])
    for tile, position in cut_tiles(region, plan):
        stitcher.add(model.infer(tile[None])[0], position)
    stitched = stitcher.result()
    return RegionScan(stitched, image_score(stitched, rule))


class Detector:
    """A registered version, ready to look at photographs.

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
        self._model = TileModel(folder, self.info.precision, device)
        self._namer = find_namer(folder)
        if device != PROCESSOR:
            self._check_device(device)

    @property
    def network(self) -> MapsTiles:
        """The exported network by itself, whose maps are raw."""
        return self._model

    def scan_region(self, region: NDArray[np.uint8], network: MapsTiles | None = None) -> RegionScan:
        """Scan a prepared region; map and score are on the version's scale. `network` may stand in for its own."""
        raw = scan_region(network or self._model, self.info.plan, self.info.score_rule, region)
        scaled = raw.map / np.float32(self.info.map_divisor)
        score = raw.score / self.info.image_divisor
        self._check_finite(scaled, score)
        usual = self.info.usual_reach
        lowered = 1.0 if usual is None else own_scale(block_peaks(scaled), usual)
        if lowered > 1:
            scaled /= np.float32(lowered)
        return RegionScan(scaled, score / lowered, lowered)

    def _check_finite(self, region_map: NDArray[np.float32], score: float) -> None:
        """Raise ScoreError for what is above no threshold and below none: every verdict on it would be "good"."""
        if not (np.isfinite(score) and np.isfinite(region_map).all()):
            raise ScoreError(
                f"the model of '{self.info.surface}' in {self.folder} gives a score or map that is not finite",
                cure="its files are damaged or it was badly fitted: return to another version, or retrain",
            )

    def scan(self, photograph: NDArray[np.uint8], network: MapsTiles | None = None) -> Scan:
        """Scan a photograph (H, W, 3) as a person sees it; `network` may stand in for the version's own.

        The verdict is the image score's alone: defects say where to look, and now and then a sound photograph has one.
        """
        box = find_region(photograph, self.info.region)
        region = photograph[box.top : box.bottom, box.left : box.right]
        found = self.scan_region(region, network)
        judged = self.judge(region, found)
        whole = np.zeros(photograph.shape[:2], np.float32)
        whole[box.top : box.bottom, box.left : box.right] = found.map
        defects = tuple(_move(defect, box) for defect in judged.defects)
        return Scan(whole, judged.score, judged.anomalous, box, defects, judged.sound, self._is_foreign(found))

    def _is_foreign(self, found: RegionScan) -> bool:
        """Tell whether the whole photograph is more unusual than those that were trained on, not only places of it."""
        usual = self.info.usual_level
        return usual is not None and found.lowered * float(np.median(found.map)) > _FOREIGN * usual

    def judge(self, region: NDArray[np.uint8], found: RegionScan) -> Judged:
        """Find and name the defects of a region (H, W, 3), and give the verdict without what is sound after all.

        The threshold was set with nothing left out: leaving out can only lower a score, so the promise holds.
        """
        anomalous = self.is_anomalous(found.score)
        defects = self._find_defects(found.map, anomalous)
        if self._namer is None:
            return Judged(found.score, anomalous, defects, 0)
        named = self._namer.sort(region, defects)
        if not named.sound:
            return Judged(found.score, anomalous, named.defects, 0)
        left = image_score(blank_regions(found.map, named.sound), self.info.score_rule)
        score = left * self.info.map_divisor / self.info.image_divisor
        return Judged(score, self.is_anomalous(score), named.defects, len(named.sound))

    def _find_defects(self, region_map: NDArray[np.float32], anomalous: bool) -> tuple[Defect, ...]:
        """List a region's defects; where an anomalous one has none, those pixels that made its score what it is.

        The pixel threshold may exceed every pixel of a faint but wide defect, which the image score still sees.
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
        if not self.info.references:
            raise ModelError(
                f"{self.folder} has no reference tiles, so that nothing tells whether {device} scores as it should",
                cure=f"unset {DEVICE}, or retrain",
            )
        try:
            self.check_references()
        except ModelError as error:
            raise ModelError(f"on {device}, {error.problem}", cure=f"unset {DEVICE}") from error

    def check_references(self, tolerance: float | None = None) -> None:
        """Score the stored reference tiles again; the relative tolerance is that of the version's precision.

        Raises:
            ModelError: where a tile's raw map does not come out as it did when the version was made.
        """
        allowed = TOLERANCES[self.info.precision] if tolerance is None else tolerance
        for reference in self.info.references:
            with Image.open(inside(self.folder / "reference", reference.file)) as file:
                tile = np.asarray(file.convert("RGB"))
            found = self._model.infer(tile[None])[0]
            for name, value, stored in (
                ("mean", float(found.mean()), reference.mean),
                ("peak", float(found.max()), reference.peak),
            ):
                if not abs(value - stored) <= allowed * max(abs(stored), 1e-6):
                    raise ModelError(
                        f"{self.folder}: tile {reference.file} has a {name} of {value:.6g}, stored was {stored:.6g}",
                        cure="its files were changed or this machine computes otherwise: do not use this version",
                    )


def _move(defect: Defect, region: Box) -> Defect:
    """Bring a defect from pixels of the region of interest to those of the photograph."""
    x, y = region.left, region.top
    left, top, right, bottom = defect.box
    moved = {
        "box": Box(left + x, top + y, right + x, bottom + y),
        "outline": tuple((px + x, py + y) for px, py in defect.outline),
    }
    return defect.model_copy(update=moved)


def read_info(folder: Path) -> VersionInfo:
    """Read model.json; raise ModelError where it is missing, damaged or of a newer schema."""
    path = folder / "model.json"
    if not path.is_file():
        raise ModelError(f"no model.json in {folder}", cure="retrain, or restore the model's folder")
    try:
        return VersionInfo.model_validate_json(read_checked(folder, path.name))
    except ValidationError as error:
        raise ModelError(
            f"{path} is not a model of schema {SCHEMA}: {error.errors()[0]['loc']} {error.errors()[0]['msg']}",
            cure="upgrade knotwatch if the model is newer, else retrain",
        ) from error


def read_calibration(folder: Path) -> Calibration | None:
    """Read calibration.json; None for a version that was made before there was one."""
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    try:
        return Calibration.model_validate_json(read_checked(folder, path.name))
    except ValidationError as error:
        found = f"{error.errors()[0]['loc']} {error.errors()[0]['msg']}"
        raise ModelError(f"{path} is damaged: {found}", cure="retrain, or restore it") from error


class _PyFunc:
    """The face that MLflow calls: a table with a column `image` of encoded files in, one row each out."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow's signature
        import pandas as pd

        rows = []
        for data in model_input["image"]:
            photograph = decode_photograph(bytes(data), self.detector.info.max_megapixels)
            scan = self.detector.scan(photograph.image)
            rows.append({"score": scan.score, "anomalous": scan.anomalous})
        return pd.DataFrame(rows, columns=["score", "anomalous"])


def _load_pyfunc(data_path: str) -> _PyFunc:
    """Load a model folder; MLflow's name for a loader module's entry."""
    folder = Path(data_path)
    if not (folder / CHECKSUMS).is_file():
        log.warning("%s has no checksums: damage to its files goes unnoticed until the next retrain", folder)
    return _PyFunc(Detector(folder))
