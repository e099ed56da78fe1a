"""Decisions in MLflow: each with all its figures as files of the version's run, and as a tag of the version.

The tags of one search make the whole log. Files come first: a decision that a tag names is complete. MLflow's pages
leave out the tag, which is JSON; what they show is the tag `decision`, a line.
"""

import re
from contextlib import suppress

from pipelines.core.errors import ModelError
from pipelines.registry.record import DecisionRecord
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.runs import MOST_TAG
from pipelines.tracking.store import Tracking

FOLDER = "decisions"
# MLflow's pages hide what begins with `mlflow.`, as their own notes do. Stores made before have the second word alone.
_HIDDEN, _TAG = "mlflow.knotwatch.", "decision_"
_SETTLED, _HOLD = "decisions_settled", "hold"
_MESSAGE = 1200  # characters of a tag; the file has all


class DecisionLog:
    """One surface's decisions."""

    def __init__(self, tracking: Tracking, surface: str) -> None:
        self._tracking, self._surface = tracking, surface

    def read(self) -> list[DecisionRecord]:
        """Read all decision records, the oldest first, without their figures."""
        found = [record for version in self._tracking.versions(self._surface) for record in records_of(version)]
        return sorted(found, key=lambda record: record.number)

    def read_whole(self, record: DecisionRecord) -> DecisionRecord:
        """Read a decision record with its figures from its version's run."""
        run_id = self._tracking.version(self._surface, record.version).run_id
        return DecisionRecord.model_validate_json(
            self._tracking.read_text(run_id, f"{FOLDER}/{record.number:04d}.json")
        )

    def next_number(self, version: ModelVersion) -> int:
        """Number the next decision record. A file whose tag a killed process did not write is passed over, not
        overwritten.
        """
        files = self._tracking.client.list_artifacts(version.run_id, FOLDER) if version.run_id else []
        kept = [int(found.group(1)) for file in files if (found := re.search(r"/(\d+)\.json$", file.path))]
        # Of a version that was deleted, the tags are gone too; what was settled last is still known.
        return (
            max(
                [
                    self._settled(),
                    *kept,
                    *(record.number for record in self.read()),
                ]
            )
            + 1
        )

    def add(self, version: ModelVersion, record: DecisionRecord, page: str) -> None:
        """Keep a decision record and its page with the version for good.

        Args:
            version: The record's own; one without a run gets the tags alone.
            record: With a number from `next_number`. The tag leaves its figures out and cuts long words.
            page: HTML, kept beside the record among the run's files.
        """
        name = f"{FOLDER}/{record.number:04d}"
        if version.run_id:
            self._tracking.client.log_text(version.run_id, page, f"{name}.html")
            self._tracking.client.log_text(version.run_id, record.model_dump_json(indent=1), f"{name}.json")
        tags = {f"{_HIDDEN}{_TAG}{record.number:04d}": _as_tag(record), "decision": record.summary}
        self._tracking.tag_version(self._surface, record.version, tags)

    def unsettled(self) -> DecisionRecord | None:
        """Return the latest decision record where its aliases were not all moved: its process was ended in between."""
        log = self.read()
        return log[-1] if log and log[-1].number > self._settled() else None

    def _settled(self) -> int:
        """Read the number of the last decision that was carried out; raise ModelError where somebody changed the tag:
        read as another number, an old decision would move the aliases again.
        """
        text = self._tracking.model_tag(self._surface, _SETTLED) or "0"
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ModelError(
                f"the tag `{_SETTLED}` of the registered model '{self._surface}' is {text[:60]!r}, which is no number",
                hint="set it in MLflow to the number of the surface's last decision",
            )
        return int(text)

    def settle(self, record: DecisionRecord) -> None:
        """Note that the aliases are as a decision record wants them."""
        self._tracking.tag_model(self._surface, _SETTLED, str(record.number))

    def hold(self) -> str:
        """Say why nothing is promoted automatically; empty where it may be."""
        return self._tracking.model_tag(self._surface, _HOLD)

    def set_hold(self, message: str) -> None:
        """Hold automatic promotion, or with empty words release it."""
        self._tracking.tag_model(self._surface, _HOLD, message)


def _as_tag(record: DecisionRecord) -> str:
    """Write a record as short as a tag may be: MLflow would cut JSON, and what is cut is no record any more."""
    most = _MESSAGE
    while True:
        words = {"message": record.message[:most], "reason": record.reason[:most]}
        text = record.model_copy(update=words).model_dump_json(exclude={"decision"})
        if len(text) <= MOST_TAG or not most:
            return text
        most //= 2  # quotes and line breaks take two characters or six


def records_of(version: ModelVersion) -> list[DecisionRecord]:
    """Read a version's decision records from its tags, the oldest first; a tag that somebody changed is passed over."""
    found = []
    for name, text in version.tags.items():
        if re.fullmatch(rf"({re.escape(_HIDDEN)})?{_TAG}\d+", name):
            with suppress(ValueError):
                found.append(DecisionRecord.model_validate_json(text))
    return sorted(found, key=lambda record: record.number)
