"""What is said of splits that have too few normal images to mean anything, and how many more would help."""

import math
from collections.abc import Mapping

import pandas as pd

from pipelines.core.records import Label, Split
from pipelines.core.results import SplitSize, ValidationReport
from pipelines.core.surface_settings import SplitSettings
from pipelines.data.splits.needs import NEEDS, find_needs


def measure_splits(usable: pd.DataFrame, settings: SplitSettings) -> dict[Split, SplitSize]:
    """Count the normal images of each split.

    Args:
        usable: Rows of a manifest without what is quarantined and without copies.
        settings: Shares that further normal images will be divided by.

    Returns:
        By split; one that the settings give no share is left out. Empty where an image is of unknown label, or none
        is normal: thresholds then rest on other figures.
    """
    normals = usable[usable["label"] == Label.NORMAL]
    if normals.empty or (usable["label"] == Label.UNKNOWN).any():
        return {}
    counts = normals["split"].value_counts()
    shares = _shares(normals, settings)
    return {
        split: SplitSize(images=int(counts.get(split, 0)), share=share) for split, share in shares.items() if share > 0
    }


def _shares(normals: pd.DataFrame, settings: SplitSettings) -> dict[Split, float]:
    """Say how much of further normal images each split gets; a layout's own test split gets those that it names."""
    own_test = not (normals["declared_split"] == "").any()
    rest = 1.0 if own_test else 1 - settings.test
    shares = {
        Split.TRAIN: rest * settings.train,
        Split.VALIDATION: rest * settings.validation,
        Split.CALIBRATION: rest * round(1 - settings.train - settings.validation, 9),
        Split.TEST: 1.0 if own_test else settings.test,
    }
    needs = find_needs(settings)
    divided = [split for split in Split if not (own_test and split == Split.TEST)]
    groups = normals.loc[normals["split"].isin(divided), "group"].nunique()
    total = sum(needs[split] for split in divided)
    if groups < min(total, settings.small):
        return shares | {split: needs[split] / total for split in divided}
    return shares


def warn_of_small_splits(
    report: ValidationReport, false_positive_rate: float, settings: SplitSettings
) -> ValidationReport:
    """Add a warning for each split that has too few normal images, and say once how many more would help.

    The rate is the surface's policy, which is no part of its data: so this is said when a verdict is read.

    Args:
        report: A verdict as the stage wrote it.
        false_positive_rate: Share of normal images that may be flagged, between 0 and 1.
        settings: Say whether small sets are mended.

    Returns:
        The verdict with the warnings; itself where every split has enough.

    >>> sizes = {Split.CALIBRATION: SplitSize(images=12, share=0.245)}
    >>> report = ValidationReport(accepted=True, images=60, usable=60, splits=sizes)
    >>> print(*warn_of_small_splits(report, 0.01, SplitSettings()).warnings)
    the calibration split has 12 normal images: a false-positive rate of 1 % takes 99; about 356 more would do
    """
    # (n + 1) * rate must reach 1; 1 / rate may be 20.000000000000004.
    needs = {**NEEDS, Split.CALIBRATION: math.ceil(round(1 / false_positive_rate, 9)) - 1}
    reasons = {
        Split.TRAIN: f"fewer than {needs[Split.TRAIN]} are little to learn from",
        Split.VALIDATION: f"fewer than {needs[Split.VALIDATION]} are little to choose by",
        Split.CALIBRATION: f"a false-positive rate of {100 * false_positive_rate:g} % takes {needs[Split.CALIBRATION]}",
        Split.TEST: f"fewer than {needs[Split.TEST]} say little of the false-positive rate",
    }
    small = {split: size for split, size in report.splits.items() if size.images < needs[split]}
    more = {split: math.ceil(round((needs[split] - size.images) / size.share, 9)) for split, size in small.items()}
    warnings = [
        f"the {split} split has {size.images} normal image{'' if size.images == 1 else 's'}: {reasons[split]}"
        for split, size in small.items()
    ]
    if len(small) == 1:
        warnings = [f"{warnings[0]}; about {more.popitem()[1]} more would do"]
    elif small:
        warnings.append(_say_once(more))
    if not settings.small and _could_be_mended(report.splits):
        warnings.append(_KEPT)
    return report.model_copy(update={"warnings": (*report.warnings, *warnings)}) if warnings else report


def _say_once(more: Mapping[Split, int]) -> str:
    """Say for which splits how many more normal images of the surface would do; few often do for several."""
    words: list[str] = []
    for images in sorted(set(more.values())):
        *others, last = [split.value for split in more if more[split] == images]
        named = f"{', '.join(others)} and {last}" if others else last
        words.append(f"{images} for {named}" if words else f"about {images} more normal images would do for {named}")
    return "; ".join(words)


_KEPT = (
    "this surface keeps splits of before small sets were divided by need; `small: 300` under `split` in its YAML "
    "divides it anew, and what was tested on may then be trained on"
)


def _could_be_mended(splits: Mapping[Split, SplitSize]) -> bool:
    images = sum(size.images for size in splits.values())
    return images < SplitSettings().small and any(size.images < NEEDS[split] for split, size in splits.items())
