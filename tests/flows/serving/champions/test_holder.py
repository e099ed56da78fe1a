"""Which version serves: the registry's champion, or the last one that worked."""

from types import SimpleNamespace
from typing import Any

import pytest

from flows.serving.champions import holder as holder_file
from flows.serving.champions.holder import Holder
from flows.serving.champions.shelf import Shelf
from flows.serving.metrics import Metrics
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project


class Registry:
    """A registry whose champion, and whose health, the test decides."""

    def __init__(self) -> None:
        self.number: int | None = 1
        self.down = False

    def champion(self, surface: str) -> Any:
        if self.down:
            raise ConnectionError("refused")
        return self.number and SimpleNamespace(version=self.number, surface=surface)


class Loads:
    """Counts what is loaded; version 3 does not load until it is mended."""

    def __init__(self) -> None:
        self.loaded: list[int] = []
        self.broken = {3}

    def __call__(self, _tracking: Any, version: Any) -> Any:
        self.loaded.append(version.version)
        if version.version in self.broken:
            raise ModelError("no model.xml", hint="retrain")
        return SimpleNamespace(version=version.version, name=f"oak/{version.version}")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    made = Loads()
    monkeypatch.setattr(holder_file, "_make_ready", made)
    return made


@pytest.fixture
def registry() -> Registry:
    return Registry()


def hold(project: Project, registry: Registry) -> Holder:
    tracking: Any = registry
    return Holder(project, tracking, "oak", Shelf(weigh=lambda load: (load(), 1)), Metrics())


def test_a_new_champion_takes_over_once(project: Project, registry: Registry, loads: Loads) -> None:
    held = hold(project, registry)
    held.check()
    registry.number = 2
    for _ in range(3):
        held.check()
    assert (held.current.version, held.problem, loads.loaded) == (2, None, [1, 2])


def test_without_a_registry_or_a_champion_the_old_one_serves(
    project: Project, registry: Registry, loads: Loads
) -> None:
    held = hold(project, registry)
    registry.down = True
    held.check()
    assert held.current.version == 1
    assert held.problem == "ConnectionError: refused"
    registry.down, registry.number = False, None
    held.check()
    assert held.problem == "the registry names no champion"
    registry.number = 2
    held.check()
    assert (held.current.version, held.problem) == (2, None)


def test_a_champion_that_does_not_load_is_left_alone_for_a_while(
    project: Project, registry: Registry, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold(project, registry)
    registry.number = 3
    for _ in range(3):
        held.check()
    assert (held.current.version, held.problem, loads.loaded) == (1, "no model.xml", [1, 3])
    loads.broken.clear()
    monkeypatch.setattr(holder_file, "_AGAIN", 0.0)
    held.check()
    assert (held.current.version, held.problem) == (3, None)


def test_a_champion_put_back_is_no_problem_any_more(project: Project, registry: Registry, loads: Loads) -> None:
    held = hold(project, registry)
    registry.number = 3
    held.check()
    registry.number = 1
    held.check()
    assert (held.current.version, held.problem) == (1, None)


def test_the_version_that_is_in_use_is_the_one_that_is_lent(project: Project, registry: Registry, loads: Loads) -> None:
    held = hold(project, registry)
    registry.number = 3
    held.check()
    with held.lend(lambda: None) as lent:
        assert lent.version == 1, "version 3 did not load"
        registry.number = 2
        held.check()
        assert lent.version == 1, "what a request began with it ends with"
    with held.lend(lambda: None) as lent:
        assert lent.version == 2
