"""Stage: choose the algorithm that a retrain proposes, from what the validation split says of each."""

from collections.abc import Mapping

from pipelines.core.records import LEAST_CHOSEN_ON, Interval, Record
from pipelines.core.wording import interval_in_words
from pipelines.models.registry import by_preference
from pipelines.training.choosing.figures import LABELLED, read_labelled
from pipelines.training.ensemble.settings import ENSEMBLE

# Closer than this, two algorithms are alike: with some tens of validation normals, AUROC's standard error is as large.
NEAR = 0.01
AUTO = "auto"

Figures = Mapping[str, float]


_Told = Mapping[str, Mapping[str, Interval]]  # by algorithm and figure


class Proposal(Record):
    """The algorithm proposed, and why, in words."""

    algorithm: str
    reason: str


def choose_proposal(
    candidates: Mapping[str, Figures], wanted: str = AUTO, alone: Proposal | None = None
) -> Proposal | None:
    """Choose among a run's versions by what their validation split says, or as the user wants.

    Labelled anomalies decide where every version has figures of at least 5. Else the ensemble is taken where there is
    one: synthetic anomalies can rank algorithms in the reverse of real defects (docs/decisions/0045-ensembles.md). They
    decide only where there is none, and the reason always says what decided and what they would have taken.

    The image AUROC counts, because the guarantee is about images and the threshold can only be as good as the ranking.
    Within 0.01 of the best it tells nothing on so few images; there the AUPRO decides, because it counts every defect
    alike however small (Bergmann et al. 2021), where the pixel AUROC is mostly about large ones. Within 0.01 again, and
    where the validation split is empty, a fixed order decides. The test split is never asked: a choice made on it would
    make its figures too good.

    Args:
        candidates: Figures of the validation split by algorithm or `ensemble`, as `flatten_selection` names them; empty
            ones where the split is empty.
        wanted: `policy.propose` of the surface: the algorithm to propose whatever the figures say, or `auto`. Where it
            is none of the candidates, figures decide, and the reason says so.
        alone: Candidate that an ensemble would have as its only member, and why others stay out: there is no ensemble
            then, and it is taken in its place. None where there is one, or none was wanted.

    Returns:
        The algorithm and why; None where there is no candidate.

    >>> found = {"padim": {"image_auroc": 0.9}, "fastflow": {"image_auroc": 0.95}}
    >>> choose_proposal(found).reason
    'image AUROC 0.950 on synthetic anomalies of the validation split, against 0.900 (padim)'
    >>> choose_proposal(found, "padim").reason
    'policy.propose names it; fastflow would have been taken'
    """
    chosen = _choose_by_figures(candidates, alone)
    if chosen is None or wanted in (AUTO, chosen.algorithm):
        return chosen
    if wanted not in candidates:
        return Proposal(
            algorithm=chosen.algorithm, reason=f"{wanted}, which policy.propose names, has no version; {chosen.reason}"
        )
    return Proposal(algorithm=wanted, reason=f"policy.propose names it; {chosen.algorithm} would have been taken")


def _choose_by_figures(candidates: Mapping[str, Figures], alone: Proposal | None) -> Proposal | None:
    if not candidates:
        return None
    ordered = by_preference([name for name in candidates if name != ENSEMBLE])
    synthetic = _choose_by_synthetic({a: candidates[a] for a in ordered})
    # The table beside it may show the ensemble ahead: it is not one of those that they choose among.
    among = "without the ensemble, " if ENSEMBLE in candidates else ""
    also = f"; {among}synthetic anomalies would have taken {synthetic.algorithm}" if synthetic else ""
    together = [ENSEMBLE, *ordered] if ENSEMBLE in candidates else ordered
    if len(together) == 1:
        return Proposal(algorithm=together[0], reason="the only algorithm that was trained")
    labelled = _choose_by_labelled({a: candidates[a] for a in together})
    if labelled:
        return Proposal(algorithm=labelled.algorithm, reason=labelled.reason + also)
    # Where no normal image was held out, nobody measured what a combination is worth: of images without labels.
    if candidates.get(ENSEMBLE):
        reason = f"no labelled anomalies say which algorithm is best, so they are combined{also}"
        return Proposal(algorithm=ENSEMBLE, reason=reason)
    if alone and candidates.get(alone.algorithm):
        reason = (
            f"no labelled anomalies say which algorithm is best, and nothing joins it in an ensemble ({alone.reason})"
        )
        return Proposal(algorithm=alone.algorithm, reason=reason + also)
    fixed = "no validation split to compare on: the algorithm that wants the fewest images comes first"
    return synthetic or Proposal(algorithm=ordered[0], reason=fixed)


def _choose_by_synthetic(candidates: Mapping[str, Figures]) -> Proposal | None:
    values = {a: {name: Interval(value=value) for name, value in found.items()} for a, found in candidates.items()}
    known = {a: figures for a, figures in values.items() if "image_auroc" in figures}
    return _compare(known, "synthetic anomalies of the validation split") if known else None


def _choose_by_labelled(candidates: Mapping[str, Figures]) -> Proposal | None:
    """Choose where all can be compared; None where one cannot."""
    figures = {a: read_labelled(found) for a, found in candidates.items()}
    least = min(int(found.get(LABELLED, 0)) for found in candidates.values())
    if least < LEAST_CHOSEN_ON or any("image_auroc" not in found for found in figures.values()):
        return None
    return _compare(figures, f"{least} labelled anomalies of the validation split")


def _compare(told: _Told, where: str) -> Proposal:
    """Choose among algorithms, at least one, that are in the fixed order and all have an image AUROC."""
    best, *others = _ranked(told, "image_auroc")
    alike = _near(best, told, "image_auroc")
    against = ", ".join(f"{_words(told[a]['image_auroc'])} ({a})" for a in others)
    first = f"image AUROC {_words(told[best]['image_auroc'])} on {where}"
    if len(alike) == 1:
        return Proposal(algorithm=best, reason=f"{first}, against {against}" if against else first)
    return _break_tie(alike, where)


def _break_tie(alike: _Told, where: str) -> Proposal:
    """Choose among algorithms whose image AUROC is alike; `alike` is in the fixed order."""
    same = f"image AUROC within {NEAR} on {where} ({_list(alike, 'image_auroc')})"
    with_maps = {a: figures for a, figures in alike.items() if "aupro" in figures}
    if not with_maps:
        return Proposal(algorithm=next(iter(alike)), reason=f"{same}; the first of the fixed order is taken")
    close = list(_near(_ranked(with_maps, "aupro")[0], with_maps, "aupro"))
    said = f"AUPRO ({_list(with_maps, 'aupro')})"
    if len(close) == 1:
        return Proposal(algorithm=close[0], reason=f"{same}; {said} decided")
    return Proposal(
        algorithm=close[0], reason=f"{same}, {said} too close to decide, so the first of the fixed order is taken"
    )


def _ranked(told: _Told, figure: str) -> list[str]:
    return sorted(told, key=lambda a: -told[a][figure].value)


def _near(best: str, told: _Told, figure: str) -> _Told:
    """Keep, in their order, those within reach of the best."""
    return {a: found for a, found in told.items() if found[figure].value >= told[best][figure].value - NEAR}


def _list(told: _Told, figure: str) -> str:
    return ", ".join(f"{a} {_words(found[figure])}" for a, found in told.items())


def _words(figure: Interval) -> str:
    return f"{figure.value:.3f}" if figure.low is None else interval_in_words(figure)
