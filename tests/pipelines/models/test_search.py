"""What may be tuned is what may be set."""

import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.core.parsing import parse_yaml
from pipelines.models.registry import BUILT_IN
from pipelines.models.search import Choice, Real, Whole, write_value


def lay(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    found: dict[str, Any] = value
    return found


CASES = [(algorithm, key, space) for algorithm in BUILT_IN for key, space in algorithm.search.items()]


@pytest.mark.parametrize(("algorithm", "key", "space"), CASES, ids=lambda case: getattr(case, "name", str(case))[:20])
def test_every_value_that_is_tried_is_a_value_that_may_be_set(algorithm: Any, key: str, space: Any) -> None:
    ends = space.values if isinstance(space, Choice) else (space.low, space.high)
    for value in ends:
        written = parse_yaml(write_value(space, value))
        settings = type(algorithm.settings).model_validate(lay(key, written))
        found = settings.model_dump(mode="json")
        for name in key.split("."):
            found = found[name]
        assert found == pytest.approx(written) if isinstance(written, float) else found == written


def test_all_built_in_algorithms_have_something_to_tune() -> None:
    assert [algorithm.name for algorithm in BUILT_IN if not algorithm.search] == []


@pytest.mark.parametrize("kind", [Whole, Real])
def test_a_range_that_is_none_is_refused(kind: Any) -> None:
    for low, high, log in itertools.chain([(3, 3, False), (4, 3, False), (0, 3, True)]):
        with pytest.raises(ValidationError):
            kind(low=low, high=high, log=log)
