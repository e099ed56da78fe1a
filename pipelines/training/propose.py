"""Stage: choose the algorithm that a retrain proposes, from what the validation split says of each."""

from collections.abc import Mapping, Sequence

from pipelines.core.records import Record
from pipelines.models.registry import by_preference
from pipelines.training.ensemble.settings import ENSEMBLE

# Closer than this, two algorithms are alike: with some tens of validation normals, AUROC's standard error is as large.
NEAR = 0.01
AUTO = "auto"

Figures = Mapping[str, float]


class Proposal(Record):
    """The algorithm proposed, and why, in words."""

    algorithm: str
    reason: str


def choose_proposal(candidates: Mapping[str, Figures], wanted: str = AUTO) -> Proposal | None:
    """Choose among a run's versions: the ensemble where there is one, or as the user wants.

    Synthetic anomalies ranked algorithms in the reverse of real defects on two surfaces of three, and no better than
    chance in published studies; a combination of all lost at most 0.015 to the best of them
    (docs/decisions/0045-ensembles.md). Without an ensemble they decide all the same, since nothing else is known.

    The image AUROC decides, because the guarantee is about images and the threshold can only be as good as the ranking.
    Within 0.01 of the best it tells nothing on so few normals; there the AUPRO decides, because it counts every defect
    alike however small (Bergmann et al. 2021), where the pixel AUROC is mostly about large ones. Within 0.01 again, and
    where the validation split is empty, a fixed order decides. The test split is never asked: a choice made on it would
    make its figures too good.

    Args:
        candidates: Figures of the validation split by algorithm, each 0 to 1; empty ones where the split is empty.
        wanted: `policy.propose` of the surface: the algorithm to propose whatever the figures say, or `auto`. Where it
            is none of the candidates, figures decide, and the reason says so.

    Returns:
        The algorithm and why; None where there is no candidate.

    >>> found = {"padim": {"image_auroc": 0.9}, "fastflow": {"image_auroc": 0.95}}
    >>> choose_proposal(found).reason
    'image AUROC 0.950 on the validation split, against 0.900 (padim)'
    >>> choose_proposal(found, "padim").reason
    'policy.propose names it; the validation split would have taken fastflow'
    """
    single = _choose_by_figures({name: figures for name, figures in candidates.items() if name != ENSEMBLE})
    chosen = _take_ensemble(single) if ENSEMBLE in candidates else single
    if chosen is None or wanted in (AUTO, chosen.algorithm):
        return chosen
    if wanted not in candidates:
        return Proposal(
            algorithm=chosen.algorithm, reason=f"{wanted}, which policy.propose names, has no version; {chosen.reason}"
        )
    reason = f"policy.propose names it; the validation split would have taken {chosen.algorithm}"
    if chosen.algorithm == ENSEMBLE:
        reason = "policy.propose names it; the ensemble would have been taken"
    return Proposal(algorithm=wanted, reason=reason)


def _take_ensemble(single: Proposal | None) -> Proposal:
    also = f"; synthetic anomalies would have taken {single.algorithm}" if single else ""
    reason = f"no labelled anomaly says which algorithm is best, so all are combined{also}"
    return Proposal(algorithm=ENSEMBLE, reason=reason)


def _choose_by_figures(candidates: Mapping[str, Figures]) -> Proposal | None:
    if not candidates:
        return None
    ordered = by_preference(list(candidates))
    if len(ordered) == 1:
        return Proposal(algorithm=ordered[0], reason="the only algorithm that was trained")
    known = [a for a in ordered if "image_auroc" in candidates[a]]
    if not known:
        return Proposal(
            algorithm=ordered[0],
            reason="no validation split to compare on: the algorithm that wants the fewest images comes first",
        )
    best, *others = _ranked(known, candidates, "image_auroc")
    alike = _near(best, known, candidates, "image_auroc")
    against = ", ".join(f"{candidates[a]['image_auroc']:.3f} ({a})" for a in others)
    first = f"image AUROC {candidates[best]['image_auroc']:.3f} on the validation split"
    if len(alike) == 1:
        return Proposal(algorithm=best, reason=f"{first}, against {against}" if against else first)
    return _break_tie(alike, candidates)


def _break_tie(alike: Sequence[str], candidates: Mapping[str, Figures]) -> Proposal:
    """Choose among algorithms whose image AUROC is alike; `alike` is in the fixed order."""
    same = f"image AUROC within {NEAR} on the validation split ({_list(alike, candidates, 'image_auroc')})"
    with_maps = [a for a in alike if "aupro" in candidates[a]]
    if not with_maps:
        return Proposal(algorithm=alike[0], reason=f"{same}; the fixed order decided")
    close = _near(_ranked(with_maps, candidates, "aupro")[0], with_maps, candidates, "aupro")
    said = f"AUPRO ({_list(with_maps, candidates, 'aupro')})"
    if len(close) == 1:
        return Proposal(algorithm=close[0], reason=f"{same}; {said} decided")
    return Proposal(algorithm=close[0], reason=f"{same}, and {said} too close to decide; the fixed order did")


def _ranked(names: Sequence[str], candidates: Mapping[str, Figures], figure: str) -> list[str]:
    return sorted(names, key=lambda a: -candidates[a][figure])


def _near(best: str, names: Sequence[str], candidates: Mapping[str, Figures], figure: str) -> list[str]:
    """Keep, in their order, those within reach of the best."""
    return [a for a in names if candidates[a][figure] >= candidates[best][figure] - NEAR]


def _list(names: Sequence[str], candidates: Mapping[str, Figures], figure: str) -> str:
    return ", ".join(f"{a} {candidates[a][figure]:.3f}" for a in names)
