"""The words of the domain as types: layouts, algorithms, labels, splits, and the rows of a source."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from pipelines.core.paths import InsidePath
from pipelines.core.renamed import Renamed

# Far beyond what a plan is chosen with: a damaged number must not ask for all memory.
_LONGEST_TILE, _MOST_GROWTH = 16384, 16

# Labelled anomalies: fewer tell no algorithms apart.
LEAST_CHOSEN_ON = 5


class Record(Renamed):
    """A frozen record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FiniteRecord(Record):
    """A record that refuses NaN and infinity: no threshold is above or below the one, every score below the other."""

    model_config = ConfigDict(allow_inf_nan=False)


class Layout(StrEnum):
    """How a data set lies on disk."""

    VSB = "vsb"
    MAGNETIC_TILE = "magnetic-tile"
    MVTEC = "mvtec"
    FOLDER = "folder"
    UNLABELLED = "unlabelled"
    PROCEDURAL = "procedural"


class Strategy(StrEnum):
    """How what one surface taught is brought to another; see pipelines/models/*/transfer.py.

    `reuse` takes a version as it is, `statistics` estimates its normalisation anew, `finetune` trains it further,
    `scratch` does without it. `nearest` compares with kept features; it is for comparison alone.
    """

    REUSE = "reuse"
    STATISTICS = "statistics"
    FINETUNE = "finetune"
    SCRATCH = "scratch"
    NEAREST = "nearest"


class Precision(StrEnum):
    """What an exported network computes with."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


class Label(StrEnum):
    NORMAL = "normal"
    ANOMALOUS = "anomalous"
    UNKNOWN = "unknown"


class Split(StrEnum):
    """What an image is used for."""

    TRAIN = "train"
    VALIDATION = "validation"
    CALIBRATION = "calibration"
    TEST = "test"

    @classmethod
    def _missing_(cls, value: object) -> "Split | None":
        """Read the former words, which indexes and lists of images hold that were written with them."""
        return {"select": cls.VALIDATION, "calibrate": cls.CALIBRATION}.get(str(value))


# A mask is uint8, and 0 is normal.
MOST_TYPES = 255
MaskValue = Annotated[int, Field(ge=1, le=MOST_TYPES)]


def _in_one_line(text: str) -> str:
    """Write control characters as blanks: a lone carriage return in a table ends the row when it is read back."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


# A word that stands in a table's cell.
Cell = Annotated[str, AfterValidator(_in_one_line)]


class SourceRow(Record):
    """One image as its layout describes it, before anything was measured.

    `path` and `mask` are POSIX paths relative to the source folder. `defects` maps a mask's pixel value to the name of
    its type; with `typed_mask` false every value above 0 means the one type named under 1. A `declared_split` with
    `only` is what a review says: that split and no other, where a layout's `train` is split further.
    """

    path: InsidePath
    label: Label
    mask: InsidePath | None = None
    typed_mask: bool = False
    defects: dict[MaskValue, str] = Field(default_factory=dict)
    group: Cell | None = None
    condition: Cell | None = None
    declared_split: Literal["train", "test", "only train", "only calibration"] | None = None


_LONGEST_SIDE = 1_000_000  # pixels: no camera's
Side = Annotated[int, Field(ge=1, le=_LONGEST_SIDE)]


class Interval(Record):
    """A figure with its 95 % interval; bounds are None where none can be given."""

    value: float
    low: float | None = None
    high: float | None = None


NORMAL, UNKNOWN = "normal", "unknown"

# The folder of example crops, beside the images: TYPE/NAME.png.
TYPES = "types"
