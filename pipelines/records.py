"""What stages hand to each other: frozen records, and the manifest's columns."""

from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipelines.inside import InsidePath

# Far beyond what a plan is chosen with: a damaged number must not ask for all memory.
_LONGEST_TILE, _MOST_GROWTH = 16384, 16


class Record(BaseModel):
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


class Algorithm(StrEnum):
    """What a version was trained by; `fastflow_dinov2` is FastFlow that looks at a transformer's features as well."""

    PADIM = "padim"
    FASTFLOW = "fastflow"
    EFFICIENTAD = "efficientad"
    FASTFLOW_DINOV2 = "fastflow_dinov2"

    @property
    def family(self) -> str:
        """The name of the algorithm proper, whatever features it looks at.

        >>> Algorithm.FASTFLOW_DINOV2.family
        'fastflow'
        """
        return self.value.partition("_")[0]


class Strategy(StrEnum):
    """How what one surface taught is brought to another; see pipelines/models/adapt_*.py.

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


class Part(StrEnum):
    TRAIN = "train"
    SELECT = "select"
    CALIBRATE = "calibrate"
    TEST = "test"


# A mask is uint8, and 0 is sound.
MOST_TYPES = 255
MaskValue = Annotated[int, Field(ge=1, le=MOST_TYPES)]


class SourceRow(Record):
    """One image as its layout describes it, before anything was measured.

    `path` and `mask` are POSIX paths relative to the source folder. `defects` maps a mask's pixel value to the
    name of its type; with `typed_mask` false every value above 0 means the one type named under 1. A `split` with
    `only` is what a review says: that part and no other, where a layout's `train` is parted further.
    """

    path: InsidePath
    label: Label
    mask: InsidePath | None = None
    typed_mask: bool = False
    defects: dict[MaskValue, str] = Field(default_factory=dict)
    group: str | None = None
    condition: str | None = None
    split: Literal["train", "test", "only train", "only calibrate"] | None = None


class Box(NamedTuple):
    """A rectangle in pixels of the photograph as a person sees it; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def _check_box(box: Box) -> Box:
    if not (0 <= box.left < box.right <= _LONGEST_SIDE and 0 <= box.top < box.bottom <= _LONGEST_SIDE):
        raise ValueError(f"{tuple(box)} is no box of a photograph")
    return box


_LONGEST_SIDE = 1_000_000  # pixels: no camera's
Side = Annotated[int, Field(ge=1, le=_LONGEST_SIDE)]
# A box that was read from a file.
ReadBox = Annotated[Box, AfterValidator(_check_box)]


class TilePlan(FiniteRecord):
    """How a photograph's region of interest becomes model input, and the maps a map again.

    `fit`: the region is resized to one tile. `grid`: the region is resized by `scale`, padded by reflection to at
    least one tile and cut into overlapping tiles; maps are blended with a Hann window.
    """

    mode: Literal["fit", "grid"]
    tile_height: int = Field(ge=1, le=_LONGEST_TILE)
    tile_width: int = Field(ge=1, le=_LONGEST_TILE)
    scale: float = Field(default=1.0, gt=0, le=_MOST_GROWTH)
    stride_height: int = Field(default=0, ge=0)
    stride_width: int = Field(default=0, ge=0)

    @property
    def covers(self) -> bool:
        """Tell whether its tiles leave no pixel out."""
        strides = ((self.stride_height, self.tile_height), (self.stride_width, self.tile_width))
        return self.mode == "fit" or all(0 < stride <= tile for stride, tile in strides)


class Quarantined(Record):
    path: str
    reason: str


class Verdict(Record):
    """What validation found. `accepted` false stops a run before training."""

    accepted: bool
    images: int
    usable: int
    quarantined: tuple[Quarantined, ...] = ()
    duplicates: tuple[Quarantined, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


class Interval(Record):
    """A figure with its 95 % interval; bounds are None where none can be given."""

    value: float
    low: float | None = None
    high: float | None = None


class Promise(FiniteRecord):
    """A threshold, the rate it was set for, and what stands behind it.

    `rate` is the rate that holds (`asked` where enough images were there). `images` counts the calibration images.
    An `estimate` promises nothing: it was taken from scores of images that were trained on.
    """

    threshold: float
    asked: float = Field(ge=0, le=1)
    rate: float = Field(ge=0, le=1)
    images: int = Field(ge=0)
    estimate: bool = False


class ScoredImage(Record):
    """One photograph's verdict in an evaluation; `score` is on the version's own scale."""

    path: str
    label: Label
    score: float
    anomalous: bool
    condition: str | None = None
    defects: tuple[str, ...] = ()


class Confusion(Record):
    """Verdicts against labels at the image threshold."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


class Evaluation(Record):
    """What the test part says of a version. Metrics that cannot be computed are absent, not zero.

    `metrics` has image_auroc, image_ap, image_f1 (at the threshold), image_f1_max, pixel_auroc, pixel_ap, aupro,
    false_alarm_rate. `per_defect` and `per_condition` hold the same names for a subset: each defect type against
    all normals, each condition by itself.
    """

    metrics: dict[str, Interval] = Field(default_factory=dict)
    per_defect: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    per_condition: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    confusion: Confusion | None = None
    images: tuple[ScoredImage, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class Selection(Record):
    """Figures of sound regions against the same regions with a planted defect; empty without select normals.

    `scores` are on the version's own scale, in an order that is the same for every version.
    """

    images: int
    planted: int
    metrics: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0
    scores: tuple[float, ...] = ()
    holds_defect: tuple[bool, ...] = ()


class Start(Record):
    """What an adaptation goes on from: a version's folder and tile plan, and the strategy.

    An export that is not `checked` is not set against torch's scores, which takes longer than a fit to a few images:
    it is good to compare strategies, not to register. `notes` go with the version that comes of it.
    """

    strategy: Strategy
    folder: str
    plan: TilePlan
    checked: bool = True
    notes: dict[str, str] = Field(default_factory=dict)


class Trained(Record):
    """A fitted network in `folder`, and what it cost. `peak_rss_mb` is the process's while it was
    fitted, libraries included (where the peak cannot be reset, the highest so far).

    `precision` is what the exported network is to be run with, `parity` how it then agrees with torch. `notes` says
    in words what belongs on the model card: the teacher, where training stopped. `false_blocks` is how many places of
    a sound photograph may be marked where it was trained without labels. `likelier` is by how much held-out photographs
    are likelier (log-density a dimension) than they would be without the surface that was started from, `densities` how
    likely they are, comparable among fits to the same tiles.
    """

    algorithm: Algorithm
    folder: str
    plan: TilePlan
    tiles: int
    seconds: float
    peak_rss_mb: float
    precision: Precision = Precision.F32
    parity: "Parity | None" = None
    notes: dict[str, str] = Field(default_factory=dict)
    false_blocks: float | None = None
    likelier: tuple[float, ...] = ()
    densities: tuple[float, ...] = ()


class Parity(Record):
    """Image scores of the same regions by torch and by the exported network, both raw; some hold a planted defect."""

    torch: tuple[float, ...]
    exported: tuple[float, ...]
    planted: tuple[bool, ...]


class TypeFigures(Record):
    """What held-out examples say of the naming of types.

    `confusion` counts examples by their own type (rows) and the one they were given (columns), both in the order of
    `types`. `unknown` of them lay too far from all others to be given one. `held_out` says in words how.
    """

    types: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Interval
    macro_f1: Interval
    unknown: int
    held_out: str
    seconds: float = 0.0


class Defect(Record):
    """One connected region above the pixel threshold, in pixels of the photograph as a person sees it.

    `outline` is a closed line (x, y) without its first point again. `orientation` is the long axis against the
    horizontal, degrees in (-90, 90]; `length` and `width` are the sides of the smallest rectangle around it. `score`
    is the map's peak inside, `mean_score` its mean. `type` and `confidence` are None where nothing names types; a type
    `unknown` has no confidence. `also` are other types that its parts show: a knot that a crack touches is one region.
    """

    box: Box
    outline: tuple[tuple[int, int], ...]
    area: int
    orientation: float
    length: float
    width: float
    score: float
    mean_score: float
    type: str | None = None
    confidence: float | None = None
    also: tuple[str, ...] = ()

    @property
    def types(self) -> str:
        """All that it is, in words."""
        return " + ".join((self.type or "defect", *self.also))


class Inspected(Record):
    """One photograph's result; `error` says why there is none. `map` is where its anomaly map was written.

    `sound` counts regions that were judged sound by their type; score, verdict and defects leave them out.
    `foreign` says that it belongs to no kind of surface that was trained on.
    """

    path: str
    score: float | None = None
    anomalous: bool | None = None
    width: int | None = None
    height: int | None = None
    map: str | None = None
    overlay: str | None = None
    defects: tuple[Defect, ...] = ()
    sound: int = 0
    foreign: bool = False
    error: str | None = None
