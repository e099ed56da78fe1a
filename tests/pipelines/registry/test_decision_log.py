"""The log of decisions in a registry that is a dictionary: what MLflow's pages show of it, and old stores."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from pipelines.core.errors import ModelError
from pipelines.registry.aliases import carry_out
from pipelines.registry.decision_log import DecisionLog, records_of
from pipelines.registry.record import DecisionRecord, Outcome, Trigger
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.runs import MOST_TAG
from pipelines.tracking.store import Tracking


class Registry(Tracking):
    """One version without a run, and what is written about it."""

    def __init__(self, **tags: str) -> None:
        self.tags, self.noted, self.named = dict(tags), dict[str, str](), {"champion": 3}

    def versions(self, surface: str) -> list[ModelVersion]:
        return [ModelVersion(surface=surface, version=5, run_id="", algorithm="padim", tags=self.tags, aliases=())]

    def tag_version(self, surface: str, version: int, tags: Mapping[str, str]) -> None:
        assert (surface, version) == ("oak", 5)
        self.tags |= tags

    def model_tag(self, surface: str, name: str) -> str:
        assert surface == "oak"
        return self.noted.get(name, "")

    def tag_model(self, surface: str, name: str, value: str) -> None:
        assert surface == "oak"
        self.noted[name] = value

    def aliases(self, surface: str) -> dict[str, int]:
        assert surface == "oak"
        return dict(self.named)

    def set_alias(self, surface: str, alias: str, version: int) -> None:
        assert surface == "oak"
        self.named[alias] = version


RECORD = DecisionRecord(
    number=7,
    surface="oak",
    version=5,
    algorithm="padim",
    time=datetime(2026, 1, 1, tzinfo=UTC),
    trigger=Trigger.PROMOTE,
    outcome=Outcome.ACCEPTED,
    before=3,
    after=5,
    previous=3,
    message="version 5 (padim) accepted: fewer {misses}",
    reason='a "reason"',
)


def test_pages_show_a_decision_in_words_and_its_record_alone_ends_what_a_killed_process_began() -> None:
    registry = Registry()
    log = DecisionLog(registry, "oak")
    log.add(registry.versions("oak")[0], RECORD, "<p>")
    # As MLflow's own getVisibleTagValues does.
    shown = {name: text for name, text in registry.tags.items() if not name.startswith("mlflow.")}
    assert shown == {"decision": RECORD.summary}
    # The process ends here: another finds the whole record, without any file, and moves the aliases.
    left = DecisionLog(registry, "oak").unsettled()
    assert left == RECORD
    carry_out(registry, left)
    assert registry.named == {"champion": 5, "previous": 3}
    assert log.unsettled() is None


def test_records_of_a_store_made_before_are_read_between_new_ones() -> None:
    registry = Registry(decision_0006=RECORD.model_copy(update={"number": 6}).model_dump_json(), decision="a line")
    log = DecisionLog(registry, "oak")
    assert log.unsettled() == log.read()[0]
    number = log.next_number(registry.versions("oak")[0])
    log.add(registry.versions("oak")[0], RECORD, "<p>")
    assert (number, [record.number for record in records_of(registry.versions("oak")[0])]) == (7, [6, 7])


@pytest.mark.parametrize("letter", ['"', "\n", "\x01", "é"])
def test_a_decision_of_many_quotes_is_not_cut_out_of_the_log(letter: str) -> None:
    """Each quote is two characters of the tag: cut by MLflow's limit, it was no JSON, and the decision was lost."""
    registry = Registry()
    told = RECORD.model_copy(update={"message": letter * 3000, "reason": letter * 3000})
    DecisionLog(registry, "oak").add(registry.versions("oak")[0], told, "<p>")
    registry.tags = {name: text[:MOST_TAG] for name, text in registry.tags.items()}
    (found,) = records_of(registry.versions("oak")[0])
    assert (found.number, found.after) == (7, 5)
    assert found.message
    assert told.message.startswith(found.message)


@pytest.mark.parametrize("text", ["many", "-1", "1e3", "\u0663", "9" * 5000])
def test_a_tag_of_the_last_decision_that_is_no_number_is_named(text: str) -> None:
    registry = Registry(decision_0006=RECORD.model_dump_json())
    registry.noted["decisions_settled"] = text
    with pytest.raises(ModelError, match=r"decisions_settled.*'oak'"):
        DecisionLog(registry, "oak").unsettled()
    with pytest.raises(ModelError, match="decisions_settled"):
        DecisionLog(registry, "oak").next_number(registry.versions("oak")[0])
