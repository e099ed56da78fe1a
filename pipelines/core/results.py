"""What stages hand to each other: frozen records of what they found."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from pipelines.core.geometry import Defect, TilePlan
from pipelines.core.records import FiniteRecord, Interval, Label, Precision, Record, Split, Strategy


class Quarantined(Record):
    path: str
    reason: str


class SplitSize(Record):
    """How many normal images a split has, and the share of further ones that it would get."""

    images: int = Field(ge=0)
    share: float = Field(gt=0, le=1)


class Unused(Record):
    """Files below a source that no image's row uses, for one reason: how many, and the first of their names.

    Those that are `expected` are no images by their names (sidecars, tables, text): counted, and nothing to warn of.
    """

    reason: str
    count: int = Field(ge=1)
    names: tuple[str, ...]
    expected: bool = False


REGROUP = "`small: 300` and `largest_group: 20` under `split` in the surface's YAML divide them anew"


class ValidationReport(Record):
    """What validation found. `accepted` false stops a run before training.

    `splits` has the sizes that `warn_of_small_splits` judges when the verdict is read. `unused` is added then, too: the
    files of the source that no row uses, as it lay when it was last taken in; they are no part of the data.
    """

    accepted: bool
    images: int
    usable: int
    quarantined: tuple[Quarantined, ...] = ()
    duplicates: tuple[Quarantined, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    splits: dict[Split, SplitSize] = Field(default_factory=dict)
    unused: tuple[Unused, ...] = ()

    @property
    def advice(self) -> str:
        """Say what helps where the run was stopped; what does not help in this very case is not said."""
        reasons = "; ".join(self.reasons)
        found = [advice for sign, advice in _ADVICE if sign in reasons]
        return ", and ".join(found) or "mend or replace the files that are listed"


_ADVICE = (
    (
        "max_quarantined_share",
        "mend or remove the files that are listed (`--prune` drops what vanished), or raise "
        "validation.max_quarantined_share",
    ),
    ("is labelled normal", "add normal images"),
    ("quarantined or copies", "add normal images that can be used, or mend those that are listed"),
    ("for the test split", "add normal images that are not for the test split"),
    (REGROUP, "put these two lines there"),
)


class CalibratedThreshold(FiniteRecord):
    """A threshold, the rate it was set for, and what stands behind it.

    `achieved_rate` is the rate that holds (`target_rate` where enough images were there). `images` counts the
    calibration images. An `in_sample` one guarantees nothing: it was taken from scores of images that were trained on.
    """

    former: ClassVar[Mapping[str, str]] = {"asked": "target_rate", "rate": "achieved_rate", "estimate": "in_sample"}

    threshold: float
    target_rate: float = Field(ge=0, le=1)
    achieved_rate: float = Field(ge=0, le=1)
    images: int = Field(ge=0)
    in_sample: bool = False


class ScoredImage(Record):
    """One image's verdict in an evaluation; `score` is on the version's own scale.

    Of an ensemble, `without` has the score that the others would give without each member, in the members' order.
    """

    path: str
    label: Label
    score: float
    anomalous: bool
    condition: str | None = None
    defects: tuple[str, ...] = ()
    without: tuple[float, ...] = ()


class Confusion(Record):
    """Verdicts against labels at the image threshold."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


class Evaluation(Record):
    """What the test split says of a version. Metrics that cannot be computed are absent, not zero.

    `metrics` has image_auroc, image_ap, image_f1 (at the threshold), image_f1_max, pixel_auroc, pixel_ap, aupro,
    false_positive_rate, image_recall (at the threshold), image_recall_1, _2 and _5 (at the thresholds that the
    calibration split gives for 1, 2 and 5 % false positives), and, over the defects of masks that were found,
    the medians outline_iou and outline_area_ratio. `per_defect` and `per_condition` hold the same names for
    a subset: each defect type against all normals, each condition by itself. Of an ensemble, `member_gains` says by how
    much each member raises the image AUROC: with it minus without.
    """

    metric_fields: ClassVar[tuple[str, ...]] = ("metrics",)

    metrics: dict[str, Interval] = Field(default_factory=dict)
    per_defect: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    per_condition: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    member_gains: dict[str, Interval] = Field(default_factory=dict)
    confusion: Confusion | None = None
    images: tuple[ScoredImage, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class Selection(Record):
    """Figures of normal regions against the same regions with a synthetic anomaly; empty without validation normals.

    `scores` are on the version's own scale, in an order that is the same for every version. `labelled` counts the
    anomalous images of the validation split, `labelled_metrics` sets them against its normal ones.
    """

    former: ClassVar[Mapping[str, str]] = {"planted": "synthetic"}

    images: int
    synthetic: int
    metrics: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0
    scores: tuple[float, ...] = ()
    holds_defect: tuple[bool, ...] = ()
    labelled: int = 0
    labelled_metrics: dict[str, Interval] = Field(default_factory=dict)


class Start(Record):
    """What an adaptation goes on from: a version's folder and tile plan, and the strategy.

    An export that is not `checked` is not set against torch's scores, which takes longer than a fit to a few images:
    it is good to compare strategies, not to register. `notes` go with the version that comes of it. `size` is the usual
    (height, width) of the target's regions, which says more than those of a few images.
    """

    strategy: Strategy
    folder: str
    plan: TilePlan
    size: tuple[int, int] | None = None
    checked: bool = True
    notes: dict[str, str] = Field(default_factory=dict)


class Trained(Record):
    """A fitted network in `folder`, and what it cost. `peak_rss_mb` is the process's while it was
    fitted, libraries included (where the peak cannot be reset, the highest so far).

    `precision` is what the exported network is to be run with, `parity` how it then agrees with torch. `notes` says in
    words what belongs on the model card: the teacher, where training stopped. `false_blocks` is how many places of a
    normal image may be flagged where it was trained without labels. `likelihood_gains` is by how much held-out images
    have a higher log-likelihood (log-density a dimension) than they would be without the surface that was started from,
    `densities` how likely they are, comparable among fits to the same tiles. An ensemble has `members` with their
    weights. `curves` are values by training step. `folds` are those of the images that were trained on, by path, where
    copies of the network that each lack a fold lie beside it.
    """

    former: ClassVar[Mapping[str, str]] = {"likelier": "likelihood_gains"}

    algorithm: str
    folder: str
    plan: TilePlan
    tiles: int
    seconds: float
    peak_rss_mb: float
    precision: Precision = Precision.F32
    parity: "Parity | None" = None
    notes: dict[str, str] = Field(default_factory=dict)
    false_blocks: float | None = None
    likelihood_gains: tuple[float, ...] = ()
    densities: tuple[float, ...] = ()
    members: dict[str, float] = Field(default_factory=dict)
    curves: dict[str, tuple[tuple[int, float], ...]] = Field(default_factory=dict)
    folds: dict[str, int] = Field(default_factory=dict)


class Parity(Record):
    """Image scores of the same regions by torch and by the exported network, both raw.

    Some hold a synthetic anomaly.
    """

    former: ClassVar[Mapping[str, str]] = {"planted": "synthetic"}

    torch: tuple[float, ...]
    exported: tuple[float, ...]
    synthetic: tuple[bool, ...]


class TypeFigures(Record):
    """What held-out examples say of the naming of types.

    `confusion` counts examples by their own type (rows) and the one they were given (columns), both in the order of
    `types`. `unknown` of them lay too far from all others to be given one. `held_out` says in words how. `too_few` says
    of types that are not learnt on how many images, or by how many crops, they were found.
    """

    types: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: Interval
    macro_f1: Interval
    unknown: int
    held_out: str
    too_few: dict[str, int] = Field(default_factory=dict)
    seconds: float = 0.0


class Inspected(Record):
    """One image's result; `error` says why there is none. `map` is where its anomaly map was written.

    `normal_regions` counts regions that were judged normal by their type; score, verdict and defects leave them out.
    `out_of_distribution` says that it is out of distribution: of no domain that was trained on.
    """

    former: ClassVar[Mapping[str, str]] = {"sound": "normal_regions", "foreign": "out_of_distribution"}

    path: str
    score: float | None = None
    anomalous: bool | None = None
    width: int | None = None
    height: int | None = None
    map: str | None = None
    overlay: str | None = None
    defects: tuple[Defect, ...] = ()
    normal_regions: int = 0
    out_of_distribution: bool = False
    error: str | None = None


class VersionSummary(Record):
    """One algorithm's version in figures: what a comparison shows, and what is left of a version for a later one.

    `metrics` are the test split's, `validation` those of the validation split: NAME of synthetic anomalies,
    `labelled_NAME` of labelled ones (pipelines/training/choosing/figures.py). `peak_rss_mb` is the process's while it
    trained, `folder_mb` the size of all that a version stores, `latency_ms` the milliseconds that a megapixel takes at
    best (older versions have none), `busy` how busy the machine was meanwhile; empty where no other work ran.
    """

    former: ClassVar[Mapping[str, str]] = {"select": "validation", "promise": "image_threshold"}
    metric_fields: ClassVar[tuple[str, ...]] = ("metrics",)

    algorithm: str
    version: int | None = None
    run_id: str
    metrics: dict[str, Interval] = Field(default_factory=dict)
    validation: dict[str, float] = Field(default_factory=dict)
    image_threshold: CalibratedThreshold
    tiles: int
    seconds: float
    peak_rss_mb: float
    precision: Precision = Precision.F32
    folder_mb: float
    latency_ms: float | None = None
    busy: str = ""
    notes: dict[str, str] = Field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """Return every figure by name, those of the validation split as `validation_NAME`."""
        test = {name: figure.value for name, figure in self.metrics.items()}
        return test | {f"validation_{name}": value for name, value in self.validation.items()}


class Failure(Record):
    """An algorithm that could not be trained, evaluated or registered, and why."""

    former: ClassVar[Mapping[str, str]] = {"cure": "hint"}

    algorithm: str
    problem: str
    hint: str
