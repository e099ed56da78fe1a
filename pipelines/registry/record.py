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
    `flagged_share` of the normal test images are flagged by what waits because of that.
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
    flagged_share: float | None = None

    @classmethod
    def judged(
        cls, number: int, version: "ModelVersion", trigger: Trigger, before: int | None, found: "Decision | CheckResult"
    ) -> Self:
        """Say what the gate found, or why it could not judge; an accepted version becomes champion.

        Args:
            number: The next in the surface's log, from 1.
            version: The one that was judged.
            trigger: Who asked.
            before: The champion's version, None where there is none.
            found: The gate's decision, or a result that says why there is none, which is a refusal.

        Returns:
            The record, accepted or refused; nothing is written yet.
        """
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
        """Say why a retrain's proposal waits for a decision; nothing moves.

        Args:
            number: The next in the surface's log, from 1.
            version: The one that is proposed.
            champion: The champion's version, None where there is none; it stays.
            waits: Why it waits, in words that end a sentence.

        Returns:
            The record; nothing is written yet.
        """
        message = f"version {version.version} ({version.algorithm}) is proposed and waits: {waits}"
        outcome = Outcome.PROPOSED
        return cls._of(
            number, version, Trigger.RETRAIN, outcome=outcome, before=champion, after=champion, message=message
        )

    @classmethod
    def noted(
        cls, number: int, about: "ModelVersion", champion: int | None, *, back: bool, gone: bool, message: str
    ) -> Self:
        """Say that the champion's alias was taken away by hand.

        Args:
            number: The next in the surface's log, from 1.
            about: The version that the record is kept with: the champion's, or another where that is gone.
            champion: The version that had the alias, None where none had.
            back: Whether it gets the alias again; otherwise there is no champion from now on.
            gone: Whether the champion's version itself was deleted, and is no version to return to either.
            message: What happened, in words.

        Returns:
            The record; nothing is written yet.
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
        """Say that a person rolled back to an earlier champion.

        Args:
            number: The next in the surface's log, from 1.
            to: The version that becomes champion again.
            before: The champion's version until now, None where there is none.
            previous: The champion before `to`, for the next rollback; None where there is none.
            found: What the check of `to` found, in words that follow "which".
            reason: The person's own, empty where none was given.

        Returns:
            The record; nothing is written yet.
        """
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

    def waiting(self, reason: str, flagged_share: float) -> "DecisionRecord":
        """Say that an accepted version waits for a person after all; nothing moves.

        Args:
            reason: Why, in words that end a sentence.
            flagged_share: Share of the normal test images that it flags, 0 to 1.

        Returns:
            A changed copy of the record.
        """
        message = f"version {self.version} ({self.algorithm}) is proposed and waits: {reason}"
        found = {"outcome": Outcome.PROPOSED, "after": self.before, "flagged_share": flagged_share}
        return self.model_copy(update={**found, "message": message})

    def forced(self, reason: str) -> "DecisionRecord":
        """Make a refused version champion all the same, for a person's reason."""
        return self.model_copy(update={"after": self.version, "reason": reason})

    def moved_by_hand(self, after: int | None, what: str) -> "DecisionRecord":
        """Say what becomes of a champion that was set by hand and is refused.

        Args:
            after: The version that is champion from now on: the one set by hand or the one before it.
                None: there is no champion.
            what: The same in words, which are added to the record's message.

        Returns:
            A changed copy of the record.
        """
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
        if self.outcome == Outcome.RETURNED:
            return line
        if self.moved:
            return f"{line}; champion is version {self.after}" if self.after else f"{line}; there is no champion"
        return f"{line}; champion stays version {self.after}" if self.after else line


def now() -> datetime:
    """Return the time of a decision record: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def last_of(log: Sequence[DecisionRecord], version: int) -> DecisionRecord | None:
    """Find a version's latest decision record.

    Args:
        log: Decision records, the oldest first; may be empty.
        version: The version's number.

    Returns:
        The record; None where the log holds none of the version.
    """
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
