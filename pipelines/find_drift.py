"""Whether what a surface's champion inspects still looks like what it was calibrated on, and if not, why."""

import logging
from collections.abc import Sequence

import pandas as pd

from pipelines.config import WatchSettings
from pipelines.drift import MARKED, NAMES, SCORE, Drift, DriftKind, Figure
from pipelines.imaging.measures import MEASURES
from pipelines.loader import Calibration
from pipelines.metrics.drift import (
    adjust_for_figures,
    excess_p_value,
    level_of_look,
    population_stability,
    shift_p_value,
)
from pipelines.reports.wording import count_in_words, share_in_words

# How far contrast and sharpness may be from what a change of light does to them: medians of a batch of 20 vary.
_SLACK = 1.3

log = logging.getLogger(__name__)


def find_drift(
    surface: str, reference: Calibration, batch: pd.DataFrame, number: int, settings: WatchSettings
) -> Drift:
    """Compare a batch of inspections by the champion with what it was calibrated on.

    `batch` holds readable rows of the history (pipelines/history.py), all of one version. Image scores are tested by
    Kolmogorov-Smirnov with the usual share of defects tolerated, the share of marked photographs by the binomial test,
    image measures by Kolmogorov-Smirnov. Drift is `lighting` where measures moved, `content` where scores moved and
    no change of light explains it; see `_name_kind`.
    """
    level = level_of_look(number, settings.drift_level)
    figures = _compare(reference, batch, settings, level)
    kind = _name_kind(figures)
    found = Drift(
        surface=surface,
        version=int(batch["version"].iloc[0]),
        batch=str(batch["batch"].iloc[-1]),
        number=number,
        photographs=len(batch),
        level=level,
        figures=figures,
        kind=kind,
    )
    found = found.model_copy(update={"words": _describe(found)})
    log.info("drift %s: look %d, %d photographs: %s", surface, number, len(batch), found.words)
    return found


def _compare(reference: Calibration, batch: pd.DataFrame, settings: WatchSettings, level: float) -> tuple[Figure, ...]:
    known = {name: values for name, values in reference.measures.items() if name in MEASURES and values}
    tolerated = dict.fromkeys(known, 0.0)
    if reference.scores:
        known[SCORE], tolerated[SCORE] = reference.scores, settings.usual_defect_share
    marked = int(batch["anomalous"].sum())
    p_values = {name: shift_p_value(known[name], batch[name], tolerated[name]) for name in known}
    p_values[MARKED] = excess_p_value(marked, len(batch), settings.usual_defect_share)
    adjusted = adjust_for_figures(p_values)
    figures = []
    for name, p_value in adjusted.items():
        if name == MARKED:
            was, now = settings.usual_defect_share, marked / len(batch)
            size, wanted = max(0.0, now - was), 0.0
        else:
            was, now = float(pd.Series(known[name]).median()), float(batch[name].median())
            size, wanted = population_stability(known[name], batch[name]), settings.drift_size
        moved = p_value <= level and size >= wanted
        figures.append(Figure(name=name, reference=was, now=now, p_value=p_value, size=size, moved=moved))
    return tuple(figures)


def _name_kind(figures: Sequence[Figure]) -> DriftKind | None:
    """Tell lighting from content.

    Light alone multiplies a photograph by some g: contrast then changes by g at most and sharpness, a variance, by
    its square. Where scores moved and the photographs are contrastier, flatter or sharper than that, they show
    something else, however bright they are.
    """
    moved = {figure.name for figure in figures if figure.moved}
    judged = bool(moved & {SCORE, MARKED})
    if moved - {SCORE, MARKED}:
        return DriftKind.CONTENT if judged and not _explained_by_light(figures) else DriftKind.LIGHTING
    return DriftKind.CONTENT if judged else None


def _explained_by_light(figures: Sequence[Figure]) -> bool:
    ratios = {f.name: f.now / f.reference for f in figures if f.reference > 0}
    gain = ratios.get("brightness_mean", 1.0)
    contrast, sharpness = ratios.get("brightness_std", 1.0), ratios.get("sharpness", 1.0)
    return min(1.0, gain) / _SLACK <= contrast <= max(1.0, gain) * _SLACK and sharpness <= max(1.0, gain**2) * _SLACK**2


def _describe(found: Drift) -> str:
    """Write a look as one line, the figures that moved first."""
    figures = [figure for figure in found.figures if figure.moved]
    if found.kind is None:
        return f"no drift among {count_in_words(found.photographs, 'photograph')}"
    moved = "; ".join(_figure_in_words(figure) for figure in figures)
    return (
        f"{found.kind} drift in {count_in_words(found.photographs, 'photograph')}: {moved}. {_advise(found, figures)}"
    )


def _figure_in_words(figure: Figure) -> str:
    if figure.name == MARKED:
        return (
            f"{share_in_words(figure.now)} marked where up to {share_in_words(figure.reference)} is usual "
            f"(binomial test, p {figure.p_value:.1g})"
        )
    return (
        f"{NAMES[figure.name]} {figure.reference:.4g} -> {figure.now:.4g} "
        f"(Kolmogorov-Smirnov, p {figure.p_value:.1g}; PSI {figure.size:.2f})"
    )


def _advise(found: Drift, figures: Sequence[Figure]) -> str:
    names = {figure.name for figure in figures}
    if found.kind == DriftKind.CONTENT:
        return "The photographs show something else than before: look at them"
    if "brightness_mean" not in names:
        return "Look at lens, focus and exposure"
    if names & {SCORE, MARKED}:
        return "The light changed, and scores with it: mend the light before anything else"
    return "The light changed, scores did not yet: look at lamps and exposure"
