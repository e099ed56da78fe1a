"""Near duplicates share a split, and never decide where everything goes."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from pipelines.core.records import Split
from pipelines.core.results import REGROUP
from pipelines.core.surface_settings import SplitSettings, ValidationSettings
from pipelines.data.expectations import judge
from pipelines.data.manifest import as_manifest
from pipelines.data.splits.assign import assign_splits
from pipelines.data.splits.groups import assign_groups
from pipelines.imaging.measures import measure_image

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

BITS = ValidationSettings().near_duplicate_bits
FORMER = SplitSettings(largest_group=0, labelled=0, small=0)


def table(hashes: list[str], **columns: object) -> pd.DataFrame:
    """Make a manifest of readable normal images of one arrival that have these hashes."""
    rows = [
        {"path": f"{n:03}.png", "sha256": str(n), "phash": found, "label": "normal", "arrival": 1, "width": 64}
        | {"height": 64, "brightness_mean": 100.0, "saturated_share": 0.0}
        for n, found in enumerate(hashes)
    ]
    return as_manifest(rows).assign(**columns)


def draw_hashes(count: int) -> list[str]:
    return [np.random.default_rng(number).bytes(32).hex() for number in range(count)]


def near(phash: str, step: int) -> str:
    """Change three bits of a hash, others for each step."""
    return f"{int(phash, 16) ^ (7 << (3 * step)):064x}"


def group(frame: pd.DataFrame, **settings: float) -> pd.DataFrame:
    own = SplitSettings.model_validate(settings)
    return assign_splits(assign_groups(frame, BITS, own), own)


def draw_fixture(shift: int) -> list[str]:
    """Draw one circuit board in a fixture, moved by up to so many pixels, with noise and other light; 12 defective."""
    rng = np.random.default_rng(7)
    board = np.full((136, 176, 3), (40, 110, 60), float)
    for _ in range(60):
        x, y, width, height = rng.integers(0, 160), rng.integers(0, 120), rng.integers(5, 25), rng.integers(4, 16)
        board[y : y + height, x : x + width] = rng.uniform(20, 230, 3)
    found = []
    for number in range(72):
        rng = np.random.default_rng(number)
        dy, dx = rng.integers(0, 2 * shift + 1, 2)
        image = board[dy : dy + 120, dx : dx + 160] * rng.uniform(0.95, 1.05) + rng.normal(0, 4, (120, 160, 3))
        if number >= 60:
            image[50:58, 70:78] = rng.uniform(0, 255, 3)
        found.append(measure_image(image.clip(0, 255).astype(np.uint8)).phash)
    return found


@pytest.fixture(scope="module")
def fixture_hashes() -> list[str]:
    return draw_fixture(shift=1)


def test_images_that_are_half_alike_are_not_split_by_their_groups_alone() -> None:
    """Five chains hold them all: by groups of any size, 33 are trained on and 7 calibrate."""
    split = group(table(draw_fixture(shift=2)[:60]))
    counts = Counter(split["split"])
    assert max(Counter(split["group"]).values()) <= 6
    assert all(counts[name] >= least for name, least in (("train", 15), ("calibration", 10), ("test", 9)))


def test_a_part_in_a_fixture_is_split_like_any_other_set(fixture_hashes: list[str]) -> None:
    frame = table(fixture_hashes, label=["normal"] * 60 + ["anomalous"] * 12)
    split = group(frame)
    assert Counter(split["split"][60:]) == {"test": 12}
    counts = Counter(split["split"][:60])
    assert counts["train"] >= 20
    assert all(counts[name] >= least for name, least in (("calibration", 12), ("validation", 6), ("test", 9)))
    verdict = judge(split, ValidationSettings())
    assert verdict.accepted
    assert "(split.alike)" in verdict.warnings[0]
    # More of the same part change nothing of what is there, and are divided likewise.
    grown = group(frame.assign(arrival=[1] * 40 + [2] * 20 + [3] * 12))
    early = group(frame[:40])
    assert grown["split"][:40].tolist() == early["split"].tolist()
    assert grown["group"].is_unique


def test_a_surface_of_before_is_told_what_helps(fixture_hashes: list[str]) -> None:
    frame = table(fixture_hashes, label=["normal"] * 60 + ["anomalous"] * 12)
    stopped = judge(assign_splits(assign_groups(frame, BITS, FORMER), FORMER), ValidationSettings())
    assert not stopped.accepted
    assert REGROUP in stopped.reasons[0]
    assert stopped.advice == "put these two lines there"
    helped = FORMER.model_copy(update={"small": 300, "largest_group": 20})
    assert judge(assign_splits(assign_groups(frame, BITS, helped), helped), ValidationSettings()).accepted


def test_a_burst_stays_together_up_to_a_size() -> None:
    hashes = draw_hashes(100)
    burst = [near(hashes[0], step) for step in range(8)]
    frame = table([*hashes, *burst])
    assert Counter(group(frame)["group"])["000.png"] == 9
    assert Counter(group(frame, largest_group=5)["group"])["000.png"] == 5
    assert max(Counter(group(frame, largest_group=1)["group"]).values()) == 1
    # A chain, each 20 bits from the one before, and far from the first.
    chain = [f"{(1 << (20 * step)) - 1:064x}" for step in range(12)]
    grouped = group(table([*draw_hashes(40), *chain]), largest_group=4)["group"][40:]
    assert list(Counter(grouped).values()) == [4, 4, 4]


def test_a_defective_image_takes_no_normal_ones_with_it_and_a_declared_split_wins() -> None:
    hashes = draw_hashes(60)
    frame = table([*hashes, *(near(found, 1) for found in hashes)])
    alone = group(frame[:60].copy())
    labelled = group(frame.assign(label=["normal"] * 60 + ["anomalous"] * 60))
    assert labelled["split"][:60].tolist() == alone["split"].tolist()
    assert set(labelled["split"][60:]) <= {Split.TEST, Split.VALIDATION}
    declared = group(frame.assign(declared_split=["train"] * 60 + ["test"] * 60))
    assert "test" not in set(declared["split"][:60])
    assert set(declared["split"][60:]) == {"test"}
    # Without a label or a split between them, they go together.
    together = group(frame)["split"].tolist()
    assert together[:60] == together[60:]
