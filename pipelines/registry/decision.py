"""What is known of a candidate, and what the gate decided: records that are kept with the model for good."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import ClassVar

from pydantic import Field, field_validator

from pipelines.core.records import Interval, Record
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import GateSettings
from pipelines.registry.load import Load


class CheckOutcome(StrEnum):
    PASSED = "passed"
    REFUSED = "refused"
    NOT_JUDGED = "not judged"


class CheckResult(Record):
    """What somebody found who looked at the candidate, in words; `ok` where nothing speaks against it."""

    former: ClassVar[Mapping[str, str]] = {"words": "message"}

    ok: bool
    message: str = ""

    @classmethod
    def of(cls, problems: Sequence[str], fine: str) -> "CheckResult":
        """Make a result of the problems that were found.

        Args:
            problems: In words, one each; none where nothing speaks against the candidate.
            fine: What to say then.

        Returns:
            The result; its message joins the problems with semicolons.

        >>> CheckResult.of(["no mask", "no image"], "fine").message, CheckResult.of([], "fine").ok
        ('no mask; no image', True)
        """
        return cls(ok=not problems, message="; ".join(problems) or fine)


class Scored(Record):
    """A version and how well it ranks; a figure that the images do not allow is None.

    `image_auroc` and `aupro` are of the candidate's test split, `synthetic_auroc` is the image AUROC of its validation
    split with synthetic anomalies. `recall` is the share of labelled anomalies of the test split that its image
    threshold marks, `synthetic_recall` that of synthetic anomalies. Where there is a champion, it was scored on these
    same images.
    """

    former: ClassVar[Mapping[str, str]] = {"planted_auroc": "synthetic_auroc"}

    version: int
    algorithm: str
    image_auroc: Interval | None = None
    aupro: Interval | None = None
    synthetic_auroc: Interval | None = None
    recall: Interval | None = None
    synthetic_recall: Interval | None = None


class ChampionComparison(Record):
    """The version in use, and how far the candidate is from it: candidate minus champion on the same images.

    `latency_ratio` is the candidate's p95 over the champion's, measured alternating, with its interval; `latency_ms`
    what the candidate takes for a megapixel at best, and `allowed_ms` what the surface allows (`policy.latency_ms`).
    `load` is how busy the machine was meanwhile.
    `image_threshold` is the champion's image threshold; decisions of before recall was looked at have none.
    """

    former: ClassVar[Mapping[str, str]] = {"planted_auroc": "synthetic_auroc"}

    champion: Scored
    image_auroc: Interval | None = None
    aupro: Interval | None = None
    synthetic_auroc: Interval | None = None
    recall: Interval | None = None
    synthetic_recall: Interval | None = None
    image_threshold: CalibratedThreshold | None = None
    latency_ratio: Interval | None = None
    latency_ms: float | None = None
    load: Load | None = None
    allowed_ms: float | None = None

    @field_validator("latency_ratio", mode="before")
    @classmethod
    def _had_no_interval(cls, value: object) -> object:
        """Decisions are kept for good, and the first held the figure alone."""
        return {"value": value} if isinstance(value, float) else value


class EvidenceCounts(Record):
    """How many images there were to judge by; `synthetic` defects are in the validation split, all others in
    the test.
    """

    former: ClassVar[Mapping[str, str]] = {"planted": "synthetic"}

    normal: int = Field(ge=0)
    defective: int = Field(ge=0)
    masked: int = Field(ge=0)
    synthetic: int = Field(ge=0)

    @property
    def has_labelled_defects(self) -> bool:
        """Tell whether there are defects, and normal images to set them against."""
        return self.defective > 0 and self.normal > 0


class Evidence(Record):
    """All that the gate may know. `image_threshold` is the candidate's image threshold.

    `false_alarms` counts the normal test images it flagged. `references` says whether the artefact, loaded in a
    process of its own, reproduces its reference tiles; `coordinates` whether maps and region of interest lie in the
    surface's own; `parity` whether the exported network judges as the fitted one does. `alone` says why there is no
    comparison where there is none.
    """

    former: ClassVar[Mapping[str, str]] = {"promise": "image_threshold"}

    surface: str
    candidate: Scored
    comparison: ChampionComparison | None
    images: EvidenceCounts
    image_threshold: CalibratedThreshold
    false_alarms: int = Field(ge=0)
    validation: CheckResult
    references: CheckResult
    parity: CheckResult
    coordinates: CheckResult
    alone: str = "no champion"


class Check(Record):
    """One question of the gate: what was found, what is wanted, and the answer in a sentence.

    `uncertain` marks one that passed although the figure is lower than allowed: the images are too few to tell that
    from chance.
    """

    former: ClassVar[Mapping[str, str]] = {"words": "message"}
    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = {"name": {"planted_auroc": "synthetic_auroc"}}

    name: str
    outcome: CheckOutcome
    found: str
    wanted: str
    message: str
    uncertain: bool = False

    @property
    def passed(self) -> bool:
        """Tell whether this speaks against nothing; what could not be judged does not."""
        return self.outcome != CheckOutcome.REFUSED


class Decision(Record):
    """Whether the candidate becomes champion, every check, and the evidence and the policy it was decided on.

    `basis` says in words what detection was judged by.
    """

    former: ClassVar[Mapping[str, str]] = {"facts": "evidence"}

    accepted: bool
    basis: str
    checks: tuple[Check, ...]
    evidence: Evidence
    policy: GateSettings

    @property
    def refusals(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def message(self) -> str:
        """Write the decision as one line.

        It names every reason of a refusal, or what an acceptance rests on and what stays uncertain.
        """
        candidate = self.evidence.candidate
        who = f"version {candidate.version} ({candidate.algorithm})"
        if self.accepted:
            doubts = "".join(f"; but {check.message}" for check in self.checks if check.uncertain)
            return f"{who} accepted; {self.basis}{doubts}"
        return f"{who} refused: {'; '.join(check.message for check in self.refusals)}"
