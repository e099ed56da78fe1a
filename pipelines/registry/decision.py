"""What is known of a candidate, and what the gate decided: records that are kept with the model for good."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, field_validator

from pipelines.core.records import Interval, Record
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import GateSettings

if TYPE_CHECKING:
    from pipelines.tracking.store import ModelVersion


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
        """Take the problems that were found, and what to say where there are none."""
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

    `latency_ratio` is the candidate's p95 over the champion's, measured alternating, with its interval.
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
    """One question of the gate: what was found, what is wanted, and the answer in a sentence."""

    former: ClassVar[Mapping[str, str]] = {"words": "message"}
    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = {"name": {"planted_auroc": "synthetic_auroc"}}

    name: str
    outcome: CheckOutcome
    found: str
    wanted: str
    message: str

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

        It names every reason of a refusal, or what an acceptance rests on.
        """
        candidate = self.evidence.candidate
        who = f"version {candidate.version} ({candidate.algorithm})"
        if self.accepted:
            return f"{who} accepted; {self.basis}"
        return f"{who} refused: {'; '.join(check.message for check in self.refusals)}"


class Trigger(StrEnum):
    """Who asked for a decision."""

    RETRAIN = "retrain"
    PROMOTE = "promote"
    CHALLENGER = "the alias challenger, set by hand"
    CHAMPION = "the alias champion, set by hand"
    ROLLBACK = "rollback"


class Outcome(StrEnum):
    """What a decision came to; `proposed` waits for one, `noted` is a change that nobody asked the gate about."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    PROPOSED = "proposed"
    RETURNED = "returned to"
    NOTED = "noted"


class DecisionRecord(Record):
    """One entry: what was decided of a version, and the champions before and after it.

    `previous` is what the alias of this name is given where the champion moves. `reason` is a person's own, who
    overrode a refusal or rolled back. `decision` has all figures; it is None where there was nothing to measure.
    """

    former: ClassVar[Mapping[str, str]] = {"asked": "trigger", "verdict": "outcome", "words": "message"}

    number: int
    surface: str
    version: int
    algorithm: str
    time: datetime
    trigger: Trigger
    outcome: Outcome
    before: int | None
    after: int | None
    previous: int | None = None
    message: str
    reason: str = ""
    decision: Decision | None = None

    @classmethod
    def judged(
        cls, number: int, version: "ModelVersion", trigger: Trigger, before: int | None, found: "Decision | CheckResult"
    ) -> Self:
        """Say what the gate found, or why it could not judge; an accepted version becomes champion."""
        decision = found if isinstance(found, Decision) else None
        accepted = decision is not None and decision.accepted
        return cls._of(
            *(number, version, trigger),
            outcome=Outcome.ACCEPTED if accepted else Outcome.REFUSED,
            before=before,
            after=version.version if accepted else before,
            previous=before,
            message=found.message,
            decision=decision,
        )

    @classmethod
    def proposed(cls, number: int, version: "ModelVersion", champion: int | None, waits: str) -> Self:
        """Say why a retrain's proposal waits for a decision; nothing moves."""
        message = f"version {version.version} ({version.algorithm}) is proposed and waits: {waits}"
        outcome = Outcome.PROPOSED
        return cls._of(
            number, version, Trigger.RETRAIN, outcome=outcome, before=champion, after=champion, message=message
        )

    @classmethod
    def noted(
        cls, number: int, about: "ModelVersion", champion: int | None, *, back: bool, gone: bool, message: str
    ) -> Self:
        """Say that the champion's alias was taken away by hand: it comes `back`, or there is none from now on.

        Where the champion's version itself is `gone`, it is no version to return to either.
        """
        return cls._of(
            *(number, about, Trigger.CHAMPION),
            outcome=Outcome.NOTED,
            before=champion,
            after=champion if back else None,
            previous=None if gone else champion,
            message=message,
        )

    @classmethod
    def returned(
        cls, number: int, to: "ModelVersion", before: int | None, previous: int | None, *, found: str, reason: str
    ) -> Self:
        """Say that a person rolled back to an earlier champion, and what was `found` of it."""
        return cls._of(
            *(number, to, Trigger.ROLLBACK),
            outcome=Outcome.RETURNED,
            before=before,
            after=to.version,
            previous=previous,
            message=f"returned to version {to.version} ({to.algorithm}), which {found}",
            reason=reason,
        )

    @classmethod
    def _of(cls, number: int, version: "ModelVersion", trigger: Trigger, **evidence: Any) -> Self:
        named: dict[str, Any] = {"surface": version.surface, "version": version.version, "algorithm": version.algorithm}
        return cls(number=number, time=now(), trigger=trigger, **named, **evidence)

    def forced(self, reason: str) -> "DecisionRecord":
        """Make a refused version champion all the same, for a person's reason."""
        return self.model_copy(update={"after": self.version, "reason": reason})

    def moved_by_hand(self, after: int | None, what: str) -> "DecisionRecord":
        """Say what becomes of a champion that was set by hand and is refused."""
        return self.model_copy(
            update={"after": after, "message": f"{self.message}; {what} (policy.gate.on_alias_moved)"}
        )

    @property
    def accepted(self) -> bool:
        """Tell whether the gate had nothing against the version."""
        return self.outcome == Outcome.ACCEPTED

    @property
    def moved(self) -> bool:
        """Tell whether the champion is another one than before."""
        return self.before != self.after

    @property
    def summary(self) -> str:
        """Write what became of the version as one line."""
        line = self.message
        if self.reason:
            line += f"; {'forced' if self.outcome == Outcome.REFUSED else 'reason'}: {self.reason}"
        if self.moved:
            return f"{line}; champion is version {self.after}" if self.after else f"{line}; there is no champion"
        return f"{line}; champion stays version {self.after}" if self.after else line


def now() -> datetime:
    """Return the time of a decision record: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def last_of(log: Sequence[DecisionRecord], version: int) -> DecisionRecord | None:
    """Find a version's latest decision record in a log that begins with the oldest."""
    return next((record for record in reversed(log) if record.version == version), None)


def champions(log: Sequence[DecisionRecord]) -> list[int]:
    """Return the line of champions that led to the one in use, which stands last.

    A return to an earlier one takes away what came after it, so that the next rollback goes further back.
    """
    line: list[int] = []
    for record in log:
        if record.before is not None and not line:
            line.append(record.before)
        if not record.moved or record.after is None:
            continue
        if record.trigger == Trigger.ROLLBACK and record.after in line:
            del line[line.index(record.after) :]
        line = [version for version in line if version != record.after] + [record.after]
    return line
