"""What a version's folder says of it: model.json, calibration.json, and the reference tiles."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field, ValidationError, model_validator

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.paths import InsidePath
from pipelines.core.records import FiniteRecord, Precision
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import DefectSettings, RegionSettings
from pipelines.detector.checksums import read_checked
from pipelines.imaging.image_score import ScoreRule
from pipelines.metrics.normalization import NormalPeak

# The newest that is understood. Only a version of several networks is written as 2: older code refuses it by name.
SCHEMA = 2
CALIBRATION = "calibration.json"
# How far mean and peak of a reference tile's map may lie from what was stored: another processor adds up in another
# order, and one without a version's precision computes it in float32. Measured on normal and defective tiles of PaDiM
# and EfficientAD: bf16 against float32 up to 2.1 % in the peak. int8 sums exactly where the processor has instructions
# for it; others may saturate.
TOLERANCES = {Precision.F32: 1e-3, Precision.BF16: 3e-2, Precision.INT8: 5e-2}


class Reference(FiniteRecord):
    """A tile stored with the version, and the mean and peak of its raw map: what any machine can check itself by."""

    file: InsidePath = Field(pattern=r"^[\w-]+\.png$")  # a name, never a path
    mean: float
    peak: float


class Member(FiniteRecord):
    """A network of an ensemble, in a folder below members/, and what its raw map is divided by before all are averaged.

    `divisor` is the median score of normal images that nobody trained on, over the member's weight.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    divisor: float = Field(gt=0)


class VersionInfo(FiniteRecord):
    """model.json: all of a version that is not its network. `precision` is what its scores were made with.

    A version that was trained without labels has `usual_level`, the highest median of a map among its images, and
    `normal_peak`, how high the normal surface of the median one reaches; older ones have no `normal_peak`.
    `usual_pixels` is the size of the largest image that it was trained on; older ones have none. An ensemble has
    `members`, each a whole version in a folder of its own: `plan` is the first one's, `precision` the least exact of
    theirs.
    """

    former: ClassVar[Mapping[str, str]] = {"usual_reach": "normal_peak"}

    schema_version: int = Field(default=1, le=SCHEMA)
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
    image_threshold: CalibratedThreshold
    pixel_threshold: CalibratedThreshold
    defects: DefectSettings = DefectSettings()
    usual_level: float | None = None
    normal_peak: NormalPeak | None = None
    usual_pixels: int | None = None
    references: tuple[Reference, ...] = ()
    members: tuple[Member, ...] = ()

    @model_validator(mode="after")
    def _tiles_cover_the_region(self) -> "VersionInfo":
        if not self.plan.covers:
            raise ValueError("plan: the strides of a grid lie between 1 and the tile's side")
        return self


class DriftReference(FiniteRecord):
    """calibration.json: what the calibration split looked like, for later images to be compared with.

    `scores` are on the version's scale; empty where no normal image was held out. `measures` are those of the
    regions of interest (pipelines/imaging/measures.py), a list for each measure.
    """

    scores: tuple[float, ...] = ()
    measures: dict[str, tuple[float, ...]] = Field(default_factory=dict)


def read_info(folder: Path) -> VersionInfo:
    """Read model.json; raise ModelError where it is missing, damaged or of a newer schema."""
    path = folder / "model.json"
    if not path.is_file():
        raise ModelError(f"no model.json in {folder}", hint="retrain, or restore the model's folder")
    try:
        return VersionInfo.model_validate_json(read_checked(folder, path.name))
    except ValidationError as error:
        raise ModelError(
            f"{path} is not a model of schema {SCHEMA}: {error.errors()[0]['loc']} {error.errors()[0]['msg']}",
            hint="upgrade knotwatch if the model is newer, else retrain",
        ) from error


def read_drift_reference(folder: Path) -> DriftReference | None:
    """Read calibration.json; None for a version that was made before there was one."""
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    try:
        return DriftReference.model_validate_json(read_checked(folder, path.name))
    except ValidationError as error:
        found = f"{error.errors()[0]['loc']} {error.errors()[0]['msg']}"
        raise ModelError(f"{path} is damaged: {found}", hint="retrain, or restore it") from error
