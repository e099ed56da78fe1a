"""Which images are trained on, chosen on, calibrated on and tested on."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from functools import partial

import pandas as pd

from pipelines.core.records import Label, Split
from pipelines.core.surface_settings import SplitSettings
from pipelines.data.splits.labelled import REVIEWED, Given, choose_labelled, is_drawn_labelled
from pipelines.data.splits.needs import Drawn, find_needs, mend


def assign_splits(frame: pd.DataFrame, settings: SplitSettings, reviewed: Set[str] = frozenset()) -> pd.DataFrame:
    """Fill `split`, one for each group, by seeded hashes of the group, so that adding images moves none.

    A review names the split of an image that came with it. The images of a group's first arrival decide. Test: one that
    its layout calls test, one that is anomalous, or a normal without a split whose group falls into the share of test;
    but of groups with an anomaly that the layout does not call test, `choose_labelled` gives a part to validation.
    Else train where one is of unknown label, because nobody vouches for it; else train, validation or calibration by a
    second hash. While there are fewer than `small` groups of normals, an arrival's groups are mended by `mend`.

    Args:
        frame: A manifest after `assign_groups`, with `arrival`; not changed.
        settings: The seed, shares (0 to 1) of the groups of normals and of anomalies, and which sets are small.
        reviewed: Paths of images that a review calls `test`, not their layout.

    Returns:
        A copy with `split` filled in every row, also of files that cannot be used.
    """
    told = frame.assign(declared_split=frame["declared_split"].mask(frame["path"].isin(reviewed), REVIEWED))
    decided = _decide(_arrivals(told), settings)
    # A file that cannot be used has a split all the same: no column is ever half filled.
    splits = [
        _place(label, split, decided.get(group) or _draw(group, set(), settings).split, settings)
        for group, label, split in zip(told["group"], told["label"], told["declared_split"], strict=True)
    ]
    return frame.assign(split=pd.Series([chosen_split.value for chosen_split in splits], frame.index, "str"))


def _place(label: str, declared: str, decided: Split, settings: SplitSettings) -> Split:
    """Keep an anomalous image out of train and calibration also where it came later, as a near copy of what is there.

    It follows its group into the validation split where it could have been drawn into it.
    """
    if label != Label.ANOMALOUS or (decided == Split.VALIDATION and is_drawn_labelled({(label, declared)}, settings)):
        return decided
    return Split.TEST


def _arrivals(frame: pd.DataFrame) -> list[dict[str, set[tuple[str, str]]]]:
    """List the arrivals, in their order: by the groups that began with each, the (label, split) of their images."""
    counted = frame[(frame["error"] == "") & (frame["duplicate_of"] == "")]
    first = counted.groupby("group")["arrival"].transform("min")
    deciding = counted[counted["arrival"] == first]
    members: dict[int, dict[str, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))
    columns = (deciding[name] for name in ("arrival", "group", "label", "declared_split"))
    for arrival, group, label, split in zip(*columns, strict=True):
        members[arrival][group].add((label, split))
    return [members[arrival] for arrival in sorted(members)]


def _decide(arrivals: Iterable[Mapping[str, Set[tuple[str, str]]]], settings: SplitSettings) -> dict[str, Split]:
    """Decide arrival by arrival, so that none changes what was decided before it."""
    decided: dict[str, Split] = {}
    free, settled, given = 0, Counter[Split](), Given()
    for members in arrivals:
        drawn = {group: _draw(group, members[group], settings) for group in members}
        anomalous = [group for group in members if is_drawn_labelled(members[group], settings)]
        labelled = {group: _uniform(settings.seed, "labelled", group) for group in anomalous}
        chosen = choose_labelled(labelled, given, settings.labelled)
        drawn |= dict.fromkeys(chosen, Drawn(Split.VALIDATION))
        given = Given(given.validation + len(chosen), given.test + len(labelled) - len(chosen))
        # Those with a defect are no normals: they meet no need of the test split.
        normals = {g: one for g, one in drawn.items() if Label.ANOMALOUS not in {label for label, _ in members[g]}}
        free += sum(bool(one.others) for one in normals.values())
        found = {group: one.split for group, one in drawn.items()}
        if free < settings.small:
            found |= mend(normals, settled, find_needs(settings), partial(_uniform, settings.seed, "mend"))
        settled.update(found[group] for group in normals)
        decided |= found
    return decided


_NOT_TESTED = frozenset({Split.TRAIN, Split.VALIDATION, Split.CALIBRATION})


def _draw(group: str, members: Set[tuple[str, str]], settings: SplitSettings) -> Drawn:
    """Draw by the (label, split) of a group's first arrival."""
    labels = {label for label, _ in members}
    splits = {split for _, split in members}
    if Label.ANOMALOUS in labels or splits & {"test", REVIEWED}:
        return Drawn(Split.TEST)
    if "only train" in splits:
        return Drawn(Split.TRAIN)
    if "only calibration" in splits:
        return Drawn(Split.CALIBRATION)
    undeclared = (Label.NORMAL, "") in members
    others = frozenset() if labels - {Label.NORMAL} else frozenset(Split) if undeclared else _NOT_TESTED
    if undeclared and _uniform(settings.seed, "test", group) < settings.test:
        return Drawn(Split.TEST, others)
    return Drawn(Split.TRAIN if Label.UNKNOWN in labels else _by_hash(group, settings), others)


def _by_hash(group: str, settings: SplitSettings) -> Split:
    drawn = _uniform(settings.seed, "part", group)
    if drawn < settings.train:
        return Split.TRAIN
    return Split.VALIDATION if drawn < settings.train + settings.validation else Split.CALIBRATION


def _uniform(seed: int, purpose: str, group: str) -> float:
    """Draw from [0, 1) by a hash: independent for each purpose, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{group}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
