"""Aliases after a proposal, in a registry that is a dictionary."""

from collections.abc import Mapping

from pipelines.promote import propose
from pipelines.tracking.store import ModelVersion, Tracking


class Registry(Tracking):
    """What `propose` asks of MLflow, without one."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}

    def champion(self, surface: str) -> ModelVersion | None:
        named = self.aliases.get("champion")
        return version(int(named.removeprefix(f"{surface}/"))) if named else None

    def set_alias(self, surface: str, alias: str, version: int) -> None:
        self.aliases[alias] = f"{surface}/{version}"

    def drop_alias(self, surface: str, alias: str) -> None:
        assert self.aliases.pop(alias, surface).startswith(surface)

    def tag_version(self, surface: str, version: int, tags: Mapping[str, str]) -> None:
        self.tags[f"{surface}/{version}"] = dict(tags)


def version(number: int) -> ModelVersion:
    return ModelVersion(surface="oak", version=number, run_id="r", algorithm="padim", tags={}, aliases=())


def test_the_first_becomes_champion_a_later_one_challenger_and_the_champion_again_neither() -> None:
    registry = Registry()
    assert propose(registry, version(3), "first").version == 3
    assert registry.aliases == {"champion": "oak/3"}
    assert propose(registry, version(5), "better").version == 3
    assert registry.aliases == {"champion": "oak/3", "challenger": "oak/5"}
    assert registry.tags["oak/5"] == {"proposed_reason": "better"}
    propose(registry, version(3), "best again")
    assert registry.aliases == {"champion": "oak/3"}, "the champion is no challenger of its own, nor is 5 still one"
