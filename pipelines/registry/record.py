"""The record of a decision: who asked, what the gate found, and which champions stood before and after it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipelines.core.records import Record

if TYPE_CHECKING:
    from pipelines.tracking.registry import ModelVersion
from pipelines.registry.decision import CheckResult, Decision


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
