"""Aliases after a proposal and a decision record, in a registry that is a dictionary and may die at any write."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.registry.aliases import carry_out, propose
from pipelines.registry.descriptions import describe_versions
from pipelines.registry.record import DecisionRecord, Outcome, Trigger, champions
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking


class DiedError(Exception):
    """Stands for a process that ends."""


class Registry(Tracking):
    """What `propose` and `carry_out` ask of MLflow, without one; it dies after `writes` writes."""

    def __init__(self, writes: int = 99, **aliases: int) -> None:
        self.named, self.left = dict(aliases), writes
        self.tags: dict[str, dict[str, str]] = {}
        self.noted: dict[str, str] = {}

    def tag_model(self, surface: str, name: str, value: str) -> None:
        assert surface == "oak"
        self._write(self.noted, name, value)

    def aliases(self, surface: str) -> dict[str, int]:
        assert surface == "oak"
        return dict(self.named)

    def version(self, surface: str, version: int) -> ModelVersion:
        held = tuple(name for name, number in self.named.items() if number == version)
        return ModelVersion(surface=surface, version=version, run_id="r", algorithm="padim", tags={}, aliases=held)

    def set_alias(self, surface: str, alias: str, version: int) -> None:
        assert surface == "oak"
        self._write(self.named, alias, version)

    def drop_alias(self, surface: str, alias: str) -> None:
        assert surface == "oak"
        self._write(self.named, alias, None)

    def tag_version(self, surface: str, version: int, tags: Mapping[str, str]) -> None:
        self.tags[f"{surface}/{version}"] = dict(tags)

    def _write(self, where: dict[str, Any], name: str, value: Any) -> None:
        if not self.left:
            raise DiedError
        self.left -= 1
        where.pop(name, None)
        if value is not None:
            where[name] = value


def record(before: int | None, after: int | None, version: int = 5, **changes: Any) -> DecisionRecord:
    evidence: dict[str, Any] = {
        "number": 7,
        "surface": "oak",
        "version": version,
        "algorithm": "padim",
        "message": "x",
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "trigger": Trigger.RETRAIN,
        "outcome": Outcome.ACCEPTED,
        "before": before,
        "after": after,
        "previous": before,
    }
    return DecisionRecord(**{**evidence, **changes})


def test_a_proposal_becomes_challenger_and_the_champion_proposed_again_neither() -> None:
    registry = Registry(champion=3)
    propose(registry, registry.version("oak", 5), "better")
    assert registry.named == {"champion": 3, "challenger": 5}
    assert registry.tags["oak/5"] == {"proposed_reason": "better"}
    propose(registry, registry.version("oak", 3), "best again")
    assert registry.named == {"champion": 3}, "the champion is no challenger of its own, nor is 5 still one"


@pytest.mark.parametrize("writes", range(5))
def test_wherever_a_promotion_dies_there_is_a_champion_and_the_second_try_ends_the_same(writes: int) -> None:
    registry = Registry(writes, champion=3, challenger=5, previous=2)
    try:
        carry_out(registry, record(3, 5))
    except DiedError:
        assert writes < 4
    assert registry.named["champion"] in (3, 5)
    assert registry.named.get("previous") in (2, 3)
    registry.left = 99
    carry_out(registry, record(3, 5))
    assert registry.named == {"champion": 5, "previous": 3}
    assert registry.noted == {"decisions_settled": "7"}


def test_a_refusal_leaves_the_champion_and_its_previous_and_answers_the_request() -> None:
    registry = Registry(champion=3, challenger=5, previous=2)
    carry_out(registry, record(3, 3, outcome=Outcome.REFUSED))
    assert registry.named == {"champion": 3, "previous": 2}
    waiting = Registry(champion=3, challenger=5)
    carry_out(waiting, record(3, 3, outcome=Outcome.PROPOSED))
    assert waiting.named == {"champion": 3, "challenger": 5}
    first = Registry(challenger=5)
    carry_out(first, record(None, 5))
    assert first.named == {"champion": 5}


def test_the_line_of_champions_is_shortened_by_each_rollback() -> None:
    back = {"trigger": Trigger.ROLLBACK, "outcome": Outcome.RETURNED}
    log = [record(None, 1), record(1, 2), record(2, 2), record(2, 4)]
    assert champions(log) == [1, 2, 4]
    assert champions([*log, record(4, 2, **back)]) == [1, 2]
    assert champions([*log, record(4, 2, **back), record(2, 6)]) == [1, 2, 6]
    assert champions([*log, record(4, 1, **back)]) == [1]
    assert champions([record(3, 5)]) == [3, 5], "the champion that was there before decisions were kept"


def test_the_summary_says_what_became_of_the_champion() -> None:
    assert record(3, 5).summary == "x; champion is version 5"
    assert record(3, 3, outcome=Outcome.REFUSED).summary == "x; champion stays version 3"
    forced = record(3, 5, outcome=Outcome.REFUSED, reason="for a trial")
    assert (forced.accepted, forced.summary) == (False, "x; forced: for a trial; champion is version 5")


def test_pages_say_which_version_is_in_use_and_what_it_replaced() -> None:
    accepted = describe_versions(record(3, 5), "#/report")
    assert accepted[5].startswith("**In use** since 01 January 2026: ")
    assert accepted[5].endswith("[Report](#/report)")
    assert accepted[3].startswith("**In use until** 01 January 2026; version 5 is now: ")
    refused = describe_versions(record(3, 3, outcome=Outcome.REFUSED), "")
    assert list(refused) == [5]
    assert refused[5].startswith("**Not in use** since")
