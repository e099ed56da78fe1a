"""Algorithms of this package and of others, by their names."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from pipelines.core.errors import ModelError, SettingsError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Strategy
from pipelines.models import registry
from pipelines.models.algorithm import BaseAlgorithm
from pipelines.models.settings import AlgorithmSettings


class Brought(BaseAlgorithm):
    name = "brought"
    about = "Nobody's algorithm"
    settings = AlgorithmSettings(max_train_tiles=7)


BROUGHT = Brought()
NAMELESS = object()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Entry points that an installed package would have."""

    def install(**names: str) -> None:
        found = [EntryPoint(name, f"{__name__}:{value}", registry.GROUP) for name, value in names.items()]
        monkeypatch.setattr(registry, "entry_points", lambda **_: found)
        registry.algorithms.cache_clear()

    yield install
    registry.algorithms.cache_clear()


class Heard:
    """A log that no library silences."""

    text = ""

    def warning(self, message: str, *words: object) -> None:
        self.text += message % words


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    found = Heard()
    monkeypatch.setattr(registry, "log", found)
    return found


def test_what_a_package_brings_stands_beside_the_built_in_ones(installed: Any) -> None:
    installed(brought="BROUGHT")
    assert list(registry.algorithms()) == [*(a.name for a in registry.BUILT_IN), "brought"]
    assert registry.find_algorithm("brought") is BROUGHT
    assert registry.by_preference(["brought", "fastflow", "padim", "gone"]) == ["padim", "fastflow", "brought", "gone"]


@pytest.mark.parametrize(("name", "value"), [("brought", "MISSING"), ("other", "BROUGHT"), ("nameless", "NAMELESS")])
def test_one_that_cannot_be_used_is_named_and_the_others_stay(
    installed: Any, heard: Heard, name: str, value: str
) -> None:
    installed(**{name: value})
    assert list(registry.algorithms()) == [a.name for a in registry.BUILT_IN]
    assert name in heard.text
    with pytest.raises(SettingsError) as caught:
        registry.find_algorithm(name)
    assert "padim" in caught.value.hint


def test_a_name_that_is_taken_stays_with_its_owner(installed: Any, heard: Heard) -> None:
    thief = Brought()
    thief.name = "padim"
    globals()["THIEF"] = thief
    installed(padim="THIEF")
    assert registry.find_algorithm("padim") is registry.BUILT_IN[0]
    assert "taken" in heard.text


def test_one_that_brings_no_more_than_a_fit_can_be_trained_from_scratch_alone() -> None:
    plan = TilePlan(mode="fit", tile_height=64, tile_width=64)
    assert BROUGHT.strategies == (Strategy.SCRATCH,)
    assert BROUGHT.structure({"brought.max_train_tiles": "7"}) == ()
    assert BROUGHT.estimate_cost(plan, BROUGHT.settings) is None
    with pytest.raises(ModelError):
        BROUGHT.transfer(Strategy.REUSE, None, None, BROUGHT.settings, 0, {})  # type: ignore[arg-type]
