"""Champions within a bound of memory: who was asked for least recently goes, nobody who is at work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from flows.serving.champions.shelf import Shelf

SIZES = {"ash": 40, "oak": 40, "pine": 40, "whole-tree": 400}


class Loads:
    """Makes versions of known sizes, and remembers which."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def of(self, surface: str) -> Callable[[], Any]:
        def load() -> Any:
            self.made.append(surface)
            return SimpleNamespace(name=surface)

        return load


@pytest.fixture
def loads() -> Loads:
    return Loads()


def make_shelf(most: int, told: list[tuple[int, int]] | None = None) -> Shelf:
    def weigh(load: Callable[[], Any]) -> tuple[Any, int]:
        loaded = load()
        return loaded, SIZES[loaded.name]

    return Shelf(most, lambda *seen: None if told is None else told.append(seen), weigh)


def ask(shelf: Shelf, loads: Loads, surface: str) -> str:
    with shelf.lend(surface, loads.of(surface), lambda: None) as lent:
        return lent.name


def test_who_was_asked_for_least_recently_is_unloaded_and_comes_back(loads: Loads) -> None:
    told: list[tuple[int, int]] = []
    shelf = make_shelf(100, told)
    for surface in ("ash", "oak", "ash", "pine", "ash", "oak"):
        assert ask(shelf, loads, surface) == surface
    assert loads.made == ["ash", "oak", "pine", "oak"], "ash was asked for again and again"
    assert told[-1] == (2, 80)
    assert max(size for _, size in told[3:]) == 80, "who is known to be too large comes when others have gone"


def test_one_that_takes_more_than_all_may_is_kept_alone(loads: Loads) -> None:
    told: list[tuple[int, int]] = []
    shelf = make_shelf(100, told)
    for surface in ("ash", "whole-tree", "whole-tree"):
        ask(shelf, loads, surface)
    assert (loads.made, told[-1]) == (["ash", "whole-tree"], (1, 400))


def test_who_is_at_work_stays_and_another_waits_for_its_memory(loads: Loads) -> None:
    shelf, asked = make_shelf(50), Event()
    ask(shelf, loads, "oak")  # how large it is, is known from now on
    with ThreadPoolExecutor(1) as pool:
        with shelf.lend("ash", loads.of("ash"), lambda: None):
            waits = pool.submit(lambda: shelf.lend("oak", loads.of("oak"), asked.set).__enter__().name)
            assert asked.wait(10), "it looks whether anybody still waits for the answer"
            assert not waits.done()
        assert waits.result(10) == "oak"
    assert loads.made == ["oak", "ash", "oak"]


def test_who_is_not_waited_for_any_more_gets_none(loads: Loads) -> None:
    shelf = make_shelf(50)

    def give_up() -> None:
        raise TimeoutError

    ask(shelf, loads, "oak")
    with (
        shelf.lend("ash", loads.of("ash"), give_up),
        pytest.raises(TimeoutError),
        shelf.lend("oak", loads.of("oak"), give_up),
    ):
        pass
    assert ask(shelf, loads, "oak") == "oak", "and nobody is kept waiting by that"


def test_a_new_version_takes_the_place_of_one_that_is_lent_at_once(loads: Loads) -> None:
    shelf = make_shelf(50)
    with shelf.lend("oak", loads.of("oak"), lambda: None) as old:
        new = shelf.put("oak", loads.of("oak"))
        assert new is not old
    with shelf.lend("oak", loads.of("oak"), lambda: None) as lent:
        assert lent is new


def test_what_does_not_load_leaves_the_shelf_as_it_was(loads: Loads) -> None:
    shelf = make_shelf(100)
    ask(shelf, loads, "oak")

    def fail() -> Any:
        raise OSError("gone")

    for put in (lambda: shelf.put("oak", fail), lambda: shelf.lend("ash", fail, lambda: None).__enter__()):
        with pytest.raises(OSError, match="gone"):
            put()
    assert ask(shelf, loads, "oak") == "oak"
    assert loads.made == ["oak"]
