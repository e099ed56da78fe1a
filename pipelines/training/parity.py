"""Whether an exported network judges as the fitted one does."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ModelError, ParityError
from pipelines.core.files import write_whole
from pipelines.core.geometry import TilePlan
from pipelines.core.parsing import read_record
from pipelines.core.progress import track
from pipelines.core.records import Split
from pipelines.core.results import Parity
from pipelines.core.wording import count_in_words
from pipelines.data.prepared import PreparedImage, read_region, without_anomalies
from pipelines.detector.scan import MapsTiles, scan_region
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.synthetic.anomalies import add_synthetic_anomaly
from pipelines.imaging.tiling import subsample
from pipelines.metrics.curves import image_auroc

_REGIONS = 100  # one tile each, so that the cost does not grow with the images
_NORMAL = 50
# So many come first that what they say can be relied on, if it is that scores are the same.
ENOUGH = 24
_AUROC_APART = 0.005
_VERDICTS_APART = 0.01
# Share of the threshold below which two scores are the same: a threshold of few images is not known more closely.
_SAME_SCORE = 0.01
LIMITS = f"AUROC at most {_AUROC_APART:g} from torch's, at most {100 * _VERDICTS_APART:g} % of verdicts different"
_UNROUNDED = 0.001
_TINY = 1e-9
_FILE = "parity.json"


class ParityRegion(NamedTuple):
    """Pixels (H, W, 3) that make one tile; `synthetic` where they hold a synthetic anomaly."""

    image: NDArray[np.uint8]
    synthetic: bool


class RegionScores(NamedTuple):
    """A network's scores of regions, and which of them hold a synthetic anomaly."""

    scores: tuple[float, ...]
    synthetic: tuple[bool, ...]


def disagreements(parity: Parity, threshold: float) -> tuple[str, ...]:
    """Say in words where verdicts or the ranking of regions differ too much between torch and the exported network.

    Next to the threshold scores count and not verdicts: two that are less than 1 % of it apart do not differ.

    Args:
        parity: Raw scores of the same regions by both.
        threshold: A raw image score; the verdict is `score > threshold`.

    Returns:
        One sentence for each fault: scores that are not finite, AUROC more than 0.005 and more than one pair of regions
        apart, more than 1 % of the verdicts. Empty where both agree.

    >>> disagreements(Parity(torch=(1.0, 3.0), exported=(1.1, 3.1), synthetic=(False, True)), threshold=2.0)
    ()
    >>> disagreements(Parity(torch=(1.0, 3.0), exported=(1.1, 1.9), synthetic=(False, True)), threshold=2.0)
    ('1 of 2 verdicts differs',)
    """
    if not np.isfinite(parity.exported).all():
        return ("scores are not finite",)
    found = []
    torch, exported = _aurocs(parity)
    # Of a dozen regions of each kind, one pair of nearly equal scores that change places is more than 0.005.
    anomalies = sum(parity.synthetic)
    pair = 1 / max(1, anomalies * (len(parity.synthetic) - anomalies))
    if torch is not None and exported is not None and abs(torch - exported) > max(_AUROC_APART, pair) + _TINY:
        found.append(f"AUROC {exported:.3f} instead of {torch:.3f}")
    differ, regions = _count_different(parity, threshold), len(parity.torch)
    if differ > _VERDICTS_APART * regions:
        found.append(f"{differ} of {regions} verdicts {'differs' if differ == 1 else 'differ'}")
    return tuple(found)


def agreement_in_words(parity: Parity, threshold: float) -> str:
    """Write how torch and the exported network judge the same regions, and how many these are.

    Args:
        parity: Raw scores of the same regions by both, all finite.
        threshold: A raw image score; the verdict is `score > threshold`.

    Returns:
        Counts, and both AUROCs where there are regions of either kind.

    >>> both = Parity(torch=(1.0, 3.0), exported=(1.1, 3.1), synthetic=(False, True))
    >>> agreement_in_words(both, 2.0)
    "0 verdicts differ on 2 regions, 1 with a synthetic anomaly; AUROC 1.000, torch's 1.000"
    """
    torch, exported = _aurocs(parity)
    areas = f"; AUROC {exported:.3f}, torch's {torch:.3f}" if torch is not None and exported is not None else ""
    differ = _count_different(parity, threshold)
    said = f"{count_in_words(differ, 'verdict')} {'differs' if differ == 1 else 'differ'}"
    regions = count_in_words(len(parity.torch), "region")
    return f"{said} on {regions}, {sum(parity.synthetic)} with a synthetic anomaly{areas}"


def _aurocs(parity: Parity) -> tuple[float | None, float | None]:
    """Return torch's and the exported network's; None where all regions are of one kind."""
    torch, exported = (image_auroc(np.asarray(s), parity.synthetic) for s in (parity.torch, parity.exported))
    return torch, exported


def _count_different(parity: Parity, threshold: float) -> int:
    torch, exported = np.asarray(parity.torch), np.asarray(parity.exported)
    apart = np.abs(torch - exported) >= _SAME_SCORE * abs(threshold)
    return int((apart & ((torch > threshold) != (exported > threshold))).sum())


def is_same(parity: Parity) -> bool:
    """Tell whether no score differs by more than 0.1 % of itself: a tenth of what could change a verdict.

    Of a score below the median, 0.1 % of that.

    >>> is_same(Parity(torch=(1.0, 9.0), exported=(1.001, 9.005), synthetic=(False, True)))
    True
    """
    torch, exported = np.asarray(parity.torch), np.asarray(parity.exported)
    return bool((np.abs(torch - exported) <= _UNROUNDED * np.maximum(torch, np.median(torch))).all())


def check_parity(parity: Parity, raw_threshold: float) -> None:
    """Let no version pass whose exported network judges otherwise than the fitted one.

    Args:
        parity: Raw scores by both, of the version's own precision.
        raw_threshold: The version's image threshold in raw scores.

    Raises:
        ParityError: If ranking or verdicts differ too much.
    """
    found = disagreements(parity, raw_threshold)
    if found:
        raise ParityError(
            f"the exported network does not judge as the fitted one does: {'; '.join(found)}",
            hint="set export.precision to auto, which takes a safer precision; where it is auto, add normal images",
        )


def write_parity(folder: Path, parity: Parity) -> None:
    """Keep with a version how it agreed with torch when it was exported.

    Args:
        folder: The model folder; parity.json in it is replaced.
        parity: Raw scores by both, of the version's own precision.
    """
    write_whole(folder / _FILE, parity.model_dump_json() + "\n")


def read_parity(folder: Path) -> Parity | None:
    """Read what was kept; None in a version that was made without it; raise ModelError where it is damaged."""
    path = folder / _FILE
    return read_record(Parity, path, "retrain, or restore it", ModelError) if path.is_file() else None


def draw_regions(prepared: Path, images: Sequence[PreparedImage], plan: TilePlan, seed: int) -> Iterator[ParityRegion]:
    """Yield 100 regions of one tile each: up to 50 normal ones, and those again with synthetic anomalies.

    Args:
        prepared: The surface's prepared folder.
        images: Validation normals come first, train images fill up; anomalous ones and other splits are left out.
        plan: Where it cuts many tiles, a region is a crop of one tile's size; else it is a whole region.
        seed: Draws crops and anomalies; the same seed yields the same regions.

    Yields:
        Normal regions, and the same images in turn with an anomaly: by turns, as long as there are normal ones.
        Nothing where no image is left.
    """
    splits = [without_anomalies(images, split) for split in (Split.VALIDATION, Split.TRAIN)]
    chosen = subsample(splits[0], _NORMAL)
    chosen += subsample(splits[1], _NORMAL - len(chosen))
    pairs = zip_longest(range(len(chosen)), range(len(chosen), _REGIONS)) if chosen else ()
    for number in (number for pair in pairs for number in pair if number is not None):
        random = np.random.default_rng((seed, number))
        cropped = _crop(read_region(prepared, chosen[number % len(chosen)]), plan, random)
        synthetic = number >= len(chosen)
        yield ParityRegion(add_synthetic_anomaly(cropped, random).image if synthetic else cropped, synthetic)


def score_regions(
    model: MapsTiles, plan: TilePlan, rule: ScoreRule, regions: Iterable[ParityRegion], label: str = "parity"
) -> RegionScores:
    """Score regions by one network, torch's or exported.

    Args:
        model: The network, whose tiles have the plan's size.
        plan: How a region is cut into tiles.
        rule: How a map becomes a score.
        regions: As `draw_regions` yields them; read once.
        label: Word before the progress bar.

    Returns:
        Raw scores, in the order of `regions`.
    """
    rows = [(scan_region(model, plan, rule, r.image).score, r.synthetic) for r in track(regions, _REGIONS, label)]
    return RegionScores(tuple(score for score, _ in rows), tuple(synthetic for _, synthetic in rows))


def _crop(region: NDArray[np.uint8], plan: TilePlan, random: np.random.Generator) -> NDArray[np.uint8]:
    if plan.mode == "fit":
        return region
    sides = [math.floor(side / plan.scale) for side in (plan.tile_height, plan.tile_width)]
    top, left = (int(random.integers(max(0, have - side) + 1)) for have, side in zip(region.shape, sides, strict=False))
    return region[top : top + sides[0], left : left + sides[1]]
