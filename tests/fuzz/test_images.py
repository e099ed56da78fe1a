"""A sample of the damaged images in every run; `make test-fuzz` tries 20,000."""

from collections import Counter

import numpy as np
import pytest

from tests.fuzz.mutated import Case, make_case
from tests.fuzz.run import run_cases
from tests.fuzz.ways import Answer, compare
from tests.fuzz.worker import MEGABYTES, _measure

_SAMPLE = 200


def test_a_sample_of_damaged_images_is_read_right_or_refused_by_name() -> None:
    found = list(run_cases(seed=0, first=0, count=_SAMPLE))
    faults = [f"python -m tests.fuzz --seed 0 --first {t.number} --images 1 --keep: {t}" for t in found if t.faults]
    assert faults == []
    outcomes = Counter(tried.outcome for tried in found if tried.outcome)
    assert outcomes.total() == _SAMPLE
    assert outcomes["read"] > _SAMPLE / 8
    assert len(outcomes) > 5


def test_a_seed_and_a_number_make_the_same_file_again() -> None:
    cases = [make_case(4, number) for number in range(30)]
    assert [(case.steps, case.data) for case in cases] == [
        (case.steps, case.data) for case in (make_case(4, number) for number in range(30))
    ]
    assert len({case.data for case in cases}) > 25


GOOD = Answer(facts=((4, 4, 3), 9.0, 1.0, 0.0, 0.0, "ff", "hash"))
SCORED = Answer(facts=((4, 4, 3), 0.5, False))
AGREED = {"decode": GOOD, "data add": Answer(facts=GOOD.facts[:6]), "inspect": SCORED, "serve": SCORED}


def test_ways_that_agree_have_no_fault() -> None:
    assert compare(Case(1, "", b"", (4, 4)), AGREED) == []
    large = Answer("9 x 9 pixels are more than 1 megapixels")
    too_large = dict.fromkeys(AGREED, large) | {"serve": Answer("0.2 megapixels, at most 0.1 are taken")}
    assert compare(Case(1, "", b"", (4, 4)), too_large) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"inspect": Answer("file is truncated")},
        {"serve": Answer(facts=((4, 4, 3), 0.6, False))},
        {"data add": Answer(facts=((4, 5, 3), *GOOD.facts[1:6]))},
        dict.fromkeys(AGREED, Answer("file is damaged (MemoryError)")),
    ],
)
def test_ways_that_contradict_each_other_are_a_fault(wrong: dict[str, Answer]) -> None:
    assert compare(Case(1, "", b"", (4, 4)), AGREED | wrong) != []


def test_what_a_way_takes_and_raises_is_measured() -> None:
    def greedy() -> Answer:
        return Answer(facts=(int(np.ones(3 * MEGABYTES * 10**6 // 2, np.uint8).sum()),))

    def broken() -> Answer:
        raise KeyError("mode")

    assert _measure(greedy)[2] > MEGABYTES
    assert _measure(broken)[0] == "KeyError: 'mode'"
