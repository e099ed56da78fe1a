"""Figures in words: shares, intervals, guarantees, and a run's first line."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.core.records import Interval
from pipelines.core.results import CalibratedThreshold, Confusion, Evaluation, Parity, Trained, TypeFigures

METRIC_NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1": "image F1 at the threshold",
    "image_f1_max": "image F1, best threshold",
    "false_positive_rate": "false-positive rate",
    "image_recall": "recall at the threshold",
    "image_recall_1": "recall, target rate 1 %",
    "image_recall_2": "recall, target rate 2 %",
    "image_recall_5": "recall, target rate 5 %",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro": "AUPRO (to 30 % false positives)",
    "outline_iou": "IoU of a found defect's outline, median",
    "outline_area_ratio": "area of its outline over its own, median",
}


def share_in_words(share: float) -> str:
    """Write a share as per cent, to two significant digits below 10 %.

    >>> share_in_words(0.01), share_in_words(0.0256), share_in_words(0.8751), share_in_words(1.0)
    ('1 %', '2.6 %', '87.5 %', '100 %')
    """
    percent = 100 * share
    text = f"{percent:.1f}" if percent >= 10 else f"{percent:.2g}"
    return f"{text.removesuffix('.0')} %"


def interval_in_words(interval: Interval, digits: int = 3) -> str:
    """Write a figure with its bounds.

    Args:
        interval: The figure; one without both bounds is said to have no interval.
        digits: Decimals of all three numbers, 0 or more.

    Returns:
        The words, without a unit.

    >>> interval_in_words(Interval(value=0.9512, low=0.93, high=0.968))
    '0.951 (0.930 to 0.968)'
    """
    if interval.low is None or interval.high is None:
        return f"{interval.value:.{digits}f} (no interval)"
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def count_in_words(number: int, noun: str) -> str:
    """Write a count with its noun.

    Args:
        number: The count, 0 or more; thousands are set apart by commas.
        noun: In the singular; its plural ends in s, or in ies for a final y.

    Returns:
        Count and noun, in the singular for 1 alone.

    >>> count_in_words(1, "image"), count_in_words(2, "image")
    ('1 image', '2 images')
    """
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else many}"


def threshold_in_words(calibrated: CalibratedThreshold, what: str) -> str:
    """Write what stands behind a threshold.

    Args:
        calibrated: The threshold; its target rate is above 0.
        what: What may be flagged, in the plural or as an area, for example 'normal images'.

    Returns:
        One sentence, or two where the images were too few for the target rate.

    >>> found = CalibratedThreshold(threshold=1.2, target_rate=0.01, achieved_rate=0.01, images=105)
    >>> threshold_in_words(found, "normal images")
    'At most 1 % of normal images are flagged, on average; set on 105 images.'
    """
    images = count_in_words(calibrated.images, "image")
    rate = share_in_words(calibrated.achieved_rate)
    if calibrated.in_sample:
        were = "was" if calibrated.images == 1 else "were"
        return (
            f"An in-sample threshold without a guarantee of {rate} of {what}: set on {images} that {were} trained on."
        )
    verb = "are" if what.endswith("s") else "is"
    kept = f"At most {rate} of {what} {verb} flagged, on average; set on {images}."
    if calibrated.achieved_rate > calibrated.target_rate:
        needed = count_in_words(round(1 / calibrated.target_rate) - 1, "image")
        return f"{kept} {share_in_words(calibrated.target_rate)} is the target, which takes at least {needed}."
    return kept


def parity_in_words(parity: Parity) -> str:
    """Write how far the exported network's image scores are from torch's.

    >>> parity_in_words(Parity(torch=(2.0, 4.0), exported=(2.0, 4.02), synthetic=(False, True)))
    "image scores differ from torch's by 0.5 % at most, on 2 regions"
    """
    pairs = zip(parity.torch, parity.exported, strict=True)
    apart = max((abs(exported - torch) / max(abs(torch), 1e-12) for torch, exported in pairs), default=0.0)
    regions = count_in_words(len(parity.torch), "region")
    return f"image scores differ from torch's by {share_in_words(apart)} at most, on {regions}"


def training_in_words(trained: Trained) -> tuple[str, ...]:
    """Write what a fit says of itself, and what its exported network computes in."""
    notes = tuple(f"{name}: {text}" for name, text in trained.notes.items())
    if trained.members:
        return (*notes, f"The exported networks compute in {trained.precision} or more exactly.")
    agreement = f": {parity_in_words(trained.parity)}" if trained.parity else ""
    return (*notes, f"The exported network computes in {trained.precision}{agreement}.")


def types_in_words(types: TypeFigures | None) -> str:
    """Write how well types are named, and on what.

    >>> types_in_words(None)
    'Defects are not named: the surface has no examples of at least two types.'
    """
    if types is None:
        return "Defects are not named: the surface has no examples of at least two types."
    count = count_in_words(sum(sum(row) for row in types.confusion), "example")
    figures = f"accuracy {interval_in_words(types.accuracy)}, macro-F1 {interval_in_words(types.macro_f1)}"
    far = f"{types.unknown} of them lay too far from all others to be named"
    few = f" Not learnt, too few images of them: {counts_in_words(types.too_few)}." if types.too_few else ""
    return f"{', '.join(types.types)}: {figures} on {count}, held out ({types.held_out}); {far}.{few}"


def duration_in_words(seconds: float) -> str:
    """Write how long something takes, to the second, the minute or the hour.

    >>> duration_in_words(9.6), duration_in_words(200), duration_in_words(4000)
    ('10 s', '3 min 20 s', '1 h 7 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {round(whole % 3600 / 60)} min"


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Write how many there are of each.

    >>> counts_in_words({"crack": 2, "resin": 1})
    'crack 2, resin 1'
    """
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def confusion_in_words(confusion: Confusion) -> str:
    """Write which defective images are found and which normal ones flagged."""
    defective = confusion.true_positive + confusion.false_negative
    normal = confusion.true_negative + confusion.false_positive
    parts = []
    if defective:
        found = share_in_words(confusion.true_positive / defective)
        parts.append(f"finds {found} of {count_in_words(defective, 'defective test image')}")
    if normal:
        alarms = share_in_words(confusion.false_positive / normal)
        parts.append(f"flags {alarms} of {count_in_words(normal, 'normal one' if parts else 'normal test image')}")
    return " and ".join(parts) or "was tested on no labelled image"


def summary(model: str, evaluation: Evaluation) -> str:
    """Write a run's first line: what the model finds, what it flags wrongly, how well it ranks.

    Args:
        model: What the sentence begins with: algorithm and version as a person reads them.
        evaluation: On the test split; may lack labels and metrics, which is said.

    Returns:
        One or two sentences.
    """
    if evaluation.confusion is None:
        return f"{model} was trained; without labelled test images nothing is known of how well it finds defects."
    ranking = evaluation.metrics.get("image_auroc")
    tail = f" Image AUROC {interval_in_words(ranking)}." if ranking else ""
    return f"{model} {confusion_in_words(evaluation.confusion)}.{tail}"


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List nested settings as dotted keys with their values.

    Args:
        settings: By key, nested to any depth; an empty mapping is a value of its own.
        prefix: What every key begins with, its dot included.

    Yields:
        Pairs of dotted key and value, in the order of the settings.

    >>> dict(flatten({"seed": 0, "padim": {"features": 100}}))
    {'seed': 0, 'padim.features': 100}
    """
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
