"""Small sets: each split has what it needs, none of them moves when images come, and large sets are as they were."""

import hashlib
from collections import Counter

import pandas as pd
import pytest

from pipelines.core.records import Split
from pipelines.core.surface_settings import SplitSettings
from pipelines.data.splits.assign import assign_splits
from pipelines.data.splits.needs import NEEDS

SEEDS = range(6)
TOTAL = sum(NEEDS.values())


def table(count: int, **columns: object) -> pd.DataFrame:
    """Make what splitting reads of a manifest: normal images without duplicates, each a group of its own."""
    names = [f"{number:05}.png" for number in range(count)]
    blank = {"error": "", "duplicate_of": "", "label": "normal", "declared_split": "", "arrival": 1}
    return pd.DataFrame({"path": names, "group": names, **blank}).assign(**columns)


def split(frame: pd.DataFrame, seed: int = 0, **settings: float) -> pd.Series:
    found = assign_splits(frame, SplitSettings.model_validate({"seed": seed, **settings}))
    return found.set_index("path")["split"]


def by_shares(group: str, seed: int, declared: str = "") -> str:
    """Draw a split as 0.1.0 did, written down again from its description."""

    def draw(purpose: str) -> float:
        return int(hashlib.sha256(f"{seed}/{purpose}/{group}".encode()).hexdigest()[:14], 16) / 16**14

    if not declared and draw("test") < 0.3:
        return "test"
    return "train" if draw("part") < 0.55 else "validation" if draw("part") < 0.65 else "calibration"


def check_needs(counts: Counter[str], count: int) -> None:
    """Fail unless each split has its need, or where that cannot be, the same part of it as the others."""
    assert counts.total() == count
    assert all(counts[name] >= min(need, 1) for name, need in NEEDS.items()) or count < len(NEEDS)
    if count >= TOTAL:
        assert all(counts[name] >= need for name, need in NEEDS.items())
    else:
        poorest = min(counts[name] / need for name, need in NEEDS.items())
        assert all((counts[name] - 1) / need <= poorest for name, need in NEEDS.items()), "one could give and did not"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_split_has_what_it_needs_for_every_count(seed: int) -> None:
    for count in (*range(1, 130), *range(130, 300, 13), 299):
        check_needs(Counter(split(table(count), seed)), count)


def test_the_first_groups_go_where_they_are_needed_most() -> None:
    assert [set(split(table(count), seed)) for count in (1, 2, 3) for seed in SEEDS] == [
        *[{"train"}] * 6,
        *[{"train", "calibration"}] * 6,
        *[{"train", "calibration", "validation"}] * 6,
    ]


@pytest.mark.parametrize("steps", [[1] * 90, [4, 3, 38, 20, 100, 134, 1, 50], [45, 84], [299, 1, 1]])
def test_no_image_moves_when_others_come_and_needs_are_met_all_the_way(steps: list[int]) -> None:
    arrivals = [number for number, step in enumerate(steps) for _ in range(step)]
    grown = table(len(arrivals), arrival=arrivals)
    # The order of names is not the order of arrival.
    grown = grown.assign(path=[f"{(7 * n) % 9973:05}.png" for n in range(len(grown))]).assign(group=lambda f: f["path"])
    for seed in SEEDS:
        settled = split(grown[grown["arrival"] < 1], seed)
        for arrival in range(1, len(steps)):
            now = split(grown[grown["arrival"] <= arrival], seed)
            pd.testing.assert_series_equal(now[settled.index], settled)
            check_needs(Counter(now), len(now))
            settled = now


def test_groups_are_never_parted_and_few_large_ones_are_spread() -> None:
    boards = [f"board {number % 7}" for number in range(84)]
    for seed in SEEDS:
        frame = table(84, group=boards)
        found = split(frame, seed)
        assert found.groupby(boards).nunique().max() == 1
        assert set(found) == set(Split)
        # A late near copy is where its group is.
        late = split(frame.assign(arrival=[1] * 80 + [2] * 4), seed)
        assert late.groupby(boards).nunique().max() == 1


@pytest.mark.parametrize("count", [300, 301, 450])
def test_large_sets_are_split_as_before(count: int) -> None:
    for seed in SEEDS:
        for declared in ("", "train"):
            found = split(table(count, declared_split=declared), seed)
            assert found.tolist() == [by_shares(name, seed, declared) for name in found.index]


def test_a_surface_without_the_setting_is_split_as_before() -> None:
    for seed in SEEDS:
        found = split(table(45, arrival=[1] * 20 + [2] * 25), seed, small=0)
        assert found.tolist() == [by_shares(name, seed) for name in found.index]


def test_what_layout_and_label_say_stays() -> None:
    declared = ["test"] * 30 + ["train"] * 20 + ["only train", "only calibration"]
    for seed in SEEDS:
        found = split(table(52, declared_split=declared), seed)
        assert set(found[:30]) == {"test"}
        assert found[50:].tolist() == ["train", "calibration"]
        counts = Counter(found[30:])
        assert (counts["train"], counts["calibration"], counts["validation"], counts["test"]) == (11, 7, 4, 0)
        assert set(split(table(20, label="unknown"), seed)) == {"train"}
        mixed = split(table(24, label=["anomalous"] * 20 + ["normal"] * 4), seed)
        assert set(mixed[:20]) == {"test", "validation"}
        assert set(mixed[20:]) == set(Split), "defects were taken for normal images of the test split"


def test_a_split_without_a_share_stays_empty() -> None:
    for seed in SEEDS:
        assert set(split(table(45), seed, test=0)) == {"train", "validation", "calibration"}
        assert set(split(table(45), seed, train=0.6, validation=0.4)) == {"train", "validation", "test"}


def test_removing_images_moves_few() -> None:
    for seed in SEEDS:
        whole, fewer = split(table(84), seed), split(table(84).drop(range(0, 84, 21)), seed)
        assert (whole[fewer.index] != fewer).sum() <= 8, "more than two for each that went"
