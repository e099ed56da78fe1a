"""Which images are trained on, chosen on, calibrated on and tested on."""

import hashlib
from collections import defaultdict
from collections.abc import Set

import pandas as pd

from pipelines.config import PartSettings
from pipelines.records import Label, Part


def assign_parts(frame: pd.DataFrame, settings: PartSettings) -> pd.DataFrame:
    """Fill `part`, one for each group, by seeded hashes of the group, so that adding images moves none.

    A review names the part of a photograph that came with it. The images of a group's first arrival decide. Test: one
    that its layout calls test, one that is anomalous, or a normal without a split whose group falls into the share of
    test. Else train where one is of unknown label, because nobody vouches for it; else train, select or calibrate by a
    second hash.
    """
    counted = frame[(frame["error"] == "") & (frame["duplicate_of"] == "")]
    first = counted.groupby("group")["arrival"].transform("min")
    deciding = counted[counted["arrival"] == first]
    members: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for group, label, split in zip(deciding["group"], deciding["label"], deciding["split"], strict=True):
        members[group].add((label, split))
    # A file that cannot be used has a part all the same: no column is ever half filled.
    parts = [
        # Also where it came later, as a near copy of something that is trained on: nothing anomalous ever is.
        Part.TEST if label == Label.ANOMALOUS else _decide(group, members.get(group, set()), settings)
        for group, label in zip(frame["group"], frame["label"], strict=True)
    ]
    return frame.assign(part=pd.Series([part.value for part in parts], frame.index, "str"))


def _decide(group: str, members: Set[tuple[str, str]], settings: PartSettings) -> Part:
    """Decide by the (label, split) of a group's first arrival."""
    labels = {label for label, _ in members}
    if Label.ANOMALOUS in labels or any(split == "test" for _, split in members):
        return Part.TEST
    splits = {split for _, split in members}
    if "only train" in splits:
        return Part.TRAIN
    if "only calibrate" in splits:
        return Part.CALIBRATE
    if (Label.NORMAL, "") in members and _uniform(settings.seed, "test", group) < settings.test:
        return Part.TEST
    return Part.TRAIN if Label.UNKNOWN in labels else _by_hash(group, settings)


def _by_hash(group: str, settings: PartSettings) -> Part:
    drawn = _uniform(settings.seed, "part", group)
    if drawn < settings.train:
        return Part.TRAIN
    return Part.SELECT if drawn < settings.train + settings.select else Part.CALIBRATE


def _uniform(seed: int, purpose: str, group: str) -> float:
    """Draw from [0, 1) by a hash: independent for each purpose, the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{group}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
