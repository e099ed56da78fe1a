"""Whether what a surface's champion inspects still looks like what it was calibrated on, and if not, why."""

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from pipelines.core.records import Record
from pipelines.core.surface_settings import WatchSettings
from pipelines.core.wording import count_in_words, share_in_words
from pipelines.detector.version import DriftReference
from pipelines.imaging.measures import MEASURES
from pipelines.metrics.drift import (
    adjust_for_figures,
    excess_p_value,
    level_of_check,
    population_stability,
    shift_p_value,
)

FLAGGED = "flagged"  # the share of images that were called anomalous
SCORE = "score"
# The same of the last images, over several batches: a wave of defects shows there before it does in small batches.
LATELY = " lately"
JUDGED = frozenset({FLAGGED, SCORE, FLAGGED + LATELY, SCORE + LATELY})
NAMES = {
    SCORE: "image score",
    FLAGGED: "share flagged",
    SCORE + LATELY: "image score lately",
    FLAGGED + LATELY: "share flagged lately",
    "brightness_mean": "brightness",
    "brightness_std": "contrast",
    "sharpness": "sharpness",
    "saturated_share": "saturated share",
}


class DriftKind(StrEnum):
    LIGHTING = "lighting"
    CONTENT = "content"


class Figure(Record):
    """One figure of a check of so many images: its median (a share for `flagged`) in the reference and now.

    `p_value` is adjusted for the number of figures; `size` is the stability index less what chance adds, for `flagged`
    how far the share exceeds the usual one. It `moved` where both say so.
    """

    name: str
    images: int
    reference: float
    now: float
    p_value: float
    size: float
    moved: bool


class Drift(Record):
    """What one check of a batch found; `kind` is None where nothing moved.

    `number` counts the checks since this version became champion, `level` is what was left for this one to err with.
    """

    surface: str
    version: int
    batch: str
    number: int = Field(ge=1)
    images: int
    level: float
    figures: tuple[Figure, ...]
    kind: DriftKind | None = None
    message: str = ""


# How far contrast and sharpness may be from what a change of light does to them: medians of a batch of 20 vary.
_SLACK = 1.3

log = logging.getLogger(__name__)


class _FigureSample(NamedTuple):
    """Values of a figure: of the reference, empty for shares of flagged images, and of those checked."""

    reference: Sequence[float]
    now: "pd.Series[float]"


def find_drift(
    surface: str,
    reference: DriftReference,
    batch: pd.DataFrame,
    number: int,
    settings: WatchSettings,
    recent: pd.DataFrame | None = None,
) -> Drift:
    """Compare a batch of inspections by the champion with what it was calibrated on.

    Image scores are tested by Kolmogorov-Smirnov with the usual share of defects tolerated, the share of flagged images
    by the binomial test, image measures by Kolmogorov-Smirnov. Drift is `lighting` where measures moved as light moves
    them, `content` where scores moved, or measures as no light does.

    Args:
        surface: Name of the surface.
        reference: The champion's calibration split; without `scores` the image score is not tested.
        batch: Rows of the history that have a score, at least one, all of one version.
        number: Counts the checks of this champion from 1: later ones have less of the false-alarm level left.
        settings: `drift_level`, `drift_size` and `usual_defect_share` count.
        recent: The last rows of the same version, the batch among them; None where the batch is large enough by itself.

    Returns:
        Every figure with its p-value; `kind` is None where none moved.
    """
    level = level_of_check(number, settings.drift_level)
    figures = _compare(_sample(reference, batch, recent), settings, level)
    found = Drift(
        surface=surface,
        version=int(batch["version"].iloc[0]),
        batch=str(batch["batch"].iloc[-1]),
        number=number,
        images=len(batch),
        level=level,
        figures=figures,
        kind=_name_kind(figures),
    )
    found = found.model_copy(update={"message": _describe(found)})
    log.info("drift %s: check %d, %d images: %s", surface, number, len(batch), found.message)
    return found


def _sample(reference: DriftReference, batch: pd.DataFrame, recent: pd.DataFrame | None) -> dict[str, _FigureSample]:
    """Choose what is compared with what; scores only where normal images were held out."""
    known = {name: values for name, values in reference.measures.items() if name in MEASURES and values}
    samples = {name: _FigureSample(values, batch[name]) for name, values in known.items()}
    for rows, suffix in ((batch, ""), (recent, LATELY)):
        if rows is None:
            continue
        samples[FLAGGED + suffix] = _FigureSample((), rows["anomalous"].astype(float))
        if reference.scores:
            samples[SCORE + suffix] = _FigureSample(reference.scores, rows[SCORE])
    return samples


def _compare(samples: Mapping[str, _FigureSample], settings: WatchSettings, level: float) -> tuple[Figure, ...]:
    usual = settings.usual_defect_share
    p_values = {}
    for name, (values, now) in samples.items():
        if not values:
            p_values[name] = excess_p_value(int(now.sum()), len(now), usual)
        else:
            p_values[name] = shift_p_value(values, now, usual if name in JUDGED else 0.0)
    figures = []
    for name, p_value in adjust_for_figures(p_values).items():
        values, now = samples[name]
        if not values:
            was, is_now = usual, float(now.mean())
            size, wanted = max(0.0, is_now - was), 0.0
        else:
            was, is_now = float(np.median(values)), float(now.median())
            size, wanted = population_stability(values, now), settings.drift_size
        moved = p_value <= level and size >= wanted
        facts = {"images": len(now), "reference": was, "now": is_now, "p_value": p_value, "size": size}
        figures.append(Figure.model_validate({"name": name, "moved": moved, **facts}))
    return tuple(figures)


def _name_kind(figures: Sequence[Figure]) -> DriftKind | None:
    """Tell lighting from content.

    Light alone multiplies an image by some g: contrast then changes by g at most and sharpness, a variance, by
    its square. Images that are contrastier, flatter or sharper than that show something else, however bright they
    are. Blur makes them less sharp and nothing else, and counts as a matter of lamps and lenses.
    """
    moved = {figure.name for figure in figures if figure.moved}
    if not moved:
        return None
    if moved - JUDGED and _explained_by_light(figures):
        return DriftKind.LIGHTING
    return DriftKind.CONTENT


def _explained_by_light(figures: Sequence[Figure]) -> bool:
    """Tell whether the medians of contrast and sharpness are where the change of brightness may have put them."""
    ratios = {f.name: f.now / f.reference for f in figures if f.reference > 0}
    gain = ratios.get("brightness_mean", 1.0)
    contrast, sharpness = ratios.get("brightness_std", 1.0), ratios.get("sharpness", 1.0)
    return min(1.0, gain) / _SLACK <= contrast <= max(1.0, gain) * _SLACK and sharpness <= max(1.0, gain**2) * _SLACK**2


def _describe(found: Drift) -> str:
    """Write a check as one line, the figures that moved first."""
    # Where the batch is all there is, what holds of the last images says nothing more.
    once = [f for f in found.figures if not (f.name.endswith(LATELY) and f.images == found.images)]
    figures = [figure for figure in once if figure.moved]
    if found.kind is None:
        return f"no drift among {count_in_words(found.images, 'image')}"
    moved = "; ".join(_figure_in_words(figure) for figure in figures)
    return f"{found.kind} drift in {count_in_words(found.images, 'image')}: {moved}. {_advise(found, figures)}"


def _figure_in_words(figure: Figure) -> str:
    p_value = f"p {figure.p_value:.1g}" if figure.p_value > 1e-15 else "p < 1e-15"
    among = f" among the last {figure.images}" if figure.name.endswith(LATELY) else ""
    if figure.name.startswith(FLAGGED):
        return (
            f"{share_in_words(figure.now)} flagged{among} where up to {share_in_words(figure.reference)} is usual "
            f"(binomial test, {p_value})"
        )
    return (
        f"{NAMES[figure.name]}{among} {figure.reference:.4g} -> {figure.now:.4g} "
        f"(Kolmogorov-Smirnov, {p_value}; PSI {figure.size:.2f})"
    )


def _advise(found: Drift, figures: Sequence[Figure]) -> str:
    names = {figure.name for figure in figures}
    if found.kind == DriftKind.CONTENT:
        return "The images show something else than before: check them"
    if "brightness_mean" not in names:
        return "Check lens, focus and exposure"
    if names & JUDGED:
        return "The light changed, and scores with it: mend the light before anything else"
    return "The light changed, scores did not yet: check lamps and exposure"
