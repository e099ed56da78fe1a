"""The log of a surface's decisions: who became champion, who did not, and why. Entries are added and never changed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from pipelines.decision import Decision
from pipelines.records import Record


class Asked(StrEnum):
    """Who asked for a decision."""

    RETRAIN = "retrain"
    PROMOTE = "promote"
    CHALLENGER = "the alias challenger, set by hand"
    CHAMPION = "the alias champion, set by hand"
    ROLLBACK = "rollback"


class Verdict(StrEnum):
    """What a decision came to; `proposed` waits for one, `noted` is a change that nobody asked the gate about."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    PROPOSED = "proposed"
    RETURNED = "returned to"
    NOTED = "noted"


class Ruling(Record):
    """One entry: what was decided of a version, and the champions before and after it.

    `previous` is what the alias of this name is given where the champion moves. `reason` is a person's own, who
    overrode a refusal or rolled back. `decision` has all figures; it is None where there was nothing to measure.
    """

    number: int
    surface: str
    version: int
    algorithm: str
    time: datetime
    asked: Asked
    verdict: Verdict
    before: int | None
    after: int | None
    previous: int | None = None
    words: str
    reason: str = ""
    decision: Decision | None = None

    @property
    def accepted(self) -> bool:
        """Tell whether the gate had nothing against the version."""
        return self.verdict == Verdict.ACCEPTED

    @property
    def moved(self) -> bool:
        """Tell whether the champion is another one than before."""
        return self.before != self.after

    @property
    def summary(self) -> str:
        """Write what became of the version as one line."""
        line = self.words
        if self.reason:
            line += f"; {'forced' if self.verdict == Verdict.REFUSED else 'reason'}: {self.reason}"
        if self.moved:
            return f"{line}; champion is version {self.after}" if self.after else f"{line}; there is no champion"
        return f"{line}; champion stays version {self.after}" if self.after else line


def now() -> datetime:
    """Return the time of a ruling: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def last_of(log: Sequence[Ruling], version: int) -> Ruling | None:
    """Find a version's latest ruling in a log that begins with the oldest."""
    return next((ruling for ruling in reversed(log) if ruling.version == version), None)


def champions(log: Sequence[Ruling]) -> list[int]:
    """Return the line of champions that led to the one in use, which stands last.

    A return to an earlier one takes away what came after it, so that the next rollback goes further back.
    """
    line: list[int] = []
    for ruling in log:
        if ruling.before is not None and not line:
            line.append(ruling.before)
        if not ruling.moved or ruling.after is None:
            continue
        if ruling.asked == Asked.ROLLBACK and ruling.after in line:
            del line[line.index(ruling.after) :]
        line = [version for version in line if version != ruling.after] + [ruling.after]
    return line
