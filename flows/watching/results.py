"""What a check of a surface came to: the object that `watch --json` prints."""

from pipelines.core.records import Record
from pipelines.inspection.drift import Drift


class Retraining(Record):
    """The one retrain of a check: why, and what came of it; `problem` where it failed."""

    reason: str
    data_version: str
    champion: int | None = None
    skipped: bool = False
    problem: str | None = None


class SourceCheck(Record):
    """What was new at the source: images taken in, files that must be still first, or why none could be taken in."""

    new: int = 0
    changed: int = 0
    waiting: int = 0
    problem: str | None = None
    warnings: tuple[str, ...] = ()


class WatchResult(Record):
    """One check. `source` is None where it was not yet time to check there; `review` are folders to look at.

    `requests` says what became of aliases that were set by hand, `notes` what was left undone and why.
    """

    surface: str
    champion: int | None
    requests: tuple[str, ...] = ()
    source: SourceCheck | None = None
    drift: tuple[Drift, ...] = ()
    review: tuple[str, ...] = ()
    retrained: Retraining | None = None
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Write the check as sentences; none where there was nothing to see."""
        found = list(self.requests)
        if self.source and (self.source.new or self.source.changed):
            found.append(f"taken in: {self.source.new} new, {self.source.changed} changed")
        if self.source and self.source.problem:
            found.append(f"not taken in: {self.source.problem}")
        if self.source and self.source.waiting:
            found.append(f"{self.source.waiting} new files at the source wait until they are still")
        found += self.source.warnings if self.source else ()
        found += [f"{check.batch}: {check.message}" for check in self.drift]
        found += [f"to look at: {folder}" for folder in self.review]
        if self.retrained:
            outcome = self.retrained.problem or f"champion is version {self.retrained.champion}"
            found.append(f"retrained ({self.retrained.reason}): {outcome}")
        return (*found, *self.notes)

    @property
    def message(self) -> str:
        return "; ".join(self.lines) or "nothing new"
