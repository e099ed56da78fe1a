"""What the attempts of an adaptation come to: one strategy an algorithm, one version, and what it gained."""

from collections.abc import Mapping, Sequence

from flows.adapting.attempt import Attempt
from pipelines.core.errors import ModelError
from pipelines.core.records import Interval, Record, Strategy
from pipelines.metrics.curves import image_auroc
from pipelines.metrics.paired import image_auroc_difference
from pipelines.models.registry import by_preference
from pipelines.training.choosing.propose import AUTO, Figures, Proposal, choose_proposal
from pipelines.training.transfer.strategy import StrategyChoice, choose_strategy, find_likelihood_gains

FEW_IMAGES = "anomalydino"
_RESAMPLES = 1000  # resamples of the choice: cheap, and a profile of less effort must not choose worse


class Chosen(Record):
    """The attempt that becomes a version, why, and how much higher than training from scratch it ranks.

    `gain` is on the test split where that has labelled defects (`on_test`), else on synthetic ones. `with_labels` says
    in words what the test split's labels would have chosen.
    """

    attempt: Attempt
    reason: str
    gain: Interval | None
    on_test: bool
    with_labels: str | None


def choose_attempt(attempts: Sequence[Attempt], requested: Strategy | None, seed: int, wanted: str = AUTO) -> Chosen:
    """Choose among attempts with the same images: a strategy for each algorithm, then the algorithm.

    Args:
        attempts: At most one for each algorithm and strategy; those by `nearest` are for comparison and never chosen.
        requested: Strategy to take of every algorithm that was tried by it; None lets the figures choose.
        seed: Of the bootstrap: the same attempts and seed give the same choice.
        wanted: `policy.propose` of the target: the algorithm to take where it was tried, or `auto`.

    Returns:
        The attempt that becomes a version, why, and its gain in image AUROC over training from scratch.

    Raises:
        ModelError: If no attempt came to an end that can be used.
    """
    usable = [a for a in attempts if a.strategy != Strategy.NEAREST]
    names = by_preference(sorted({a.algorithm for a in usable}))
    by_algorithm = {algorithm: {a.strategy: a for a in usable if a.algorithm == algorithm} for algorithm in names}
    choices = {
        algorithm: _choose(found, requested, seed)
        for algorithm, found in by_algorithm.items()
        if _has(found, requested)
    }
    figures = {a: by_algorithm[a][c.strategy].selection.metrics for a, c in choices.items()}
    proposal = _propose(figures, wanted)
    if proposal is None:
        raise ModelError("no strategy came to an end", hint="read the failures above; retrain the source")
    algorithm = proposal.algorithm
    choice = choices[algorithm]
    taken = by_algorithm[algorithm][choice.strategy]
    scratch = by_algorithm[algorithm].get(Strategy.SCRATCH)
    on_test = None if scratch is None else _difference(taken, scratch, seed)
    reason = choice.reason if len(choices) == 1 else f"{choice.reason}; among algorithms: {proposal.reason}"
    return Chosen(
        attempt=taken,
        reason=reason,
        gain=choice.gain if on_test is None else on_test,
        on_test=on_test is not None,
        with_labels=_choose_with_labels(by_algorithm, seed),
    )


def _propose(figures: Mapping[str, Figures], wanted: str) -> Proposal | None:
    """Take the bank of tokens where it was tried: synthetic anomalies do not say which is best of a few images.

    What it comes to from 4 images of four surfaces stands in docs/decisions/0045-ensembles.md.
    """
    if wanted == AUTO and FEW_IMAGES in figures and len(figures) > 1:
        other = choose_proposal(figures)
        also = f"; synthetic anomalies would have taken {other.algorithm}" if other else ""
        return Proposal(algorithm=FEW_IMAGES, reason=f"of a few images its bank of tokens is taken{also}")
    return choose_proposal(figures, wanted)


def _has(found: Mapping[Strategy, Attempt], requested: Strategy | None) -> bool:
    return bool(found) if requested is None else requested in found


def _choose(found: Mapping[Strategy, Attempt], requested: Strategy | None, seed: int) -> StrategyChoice:
    labels = next(iter(found.values())).selection.holds_defect
    scores = {strategy: attempt.selection.scores for strategy, attempt in found.items()}
    if requested is None:
        alarming = [strategy for strategy, attempt in found.items() if attempt.alarming]
        likelihood_gains = find_likelihood_gains(found)
        return choose_strategy(scores, labels, _RESAMPLES, seed, alarming, likelihood_gains)
    gain = None
    if Strategy.SCRATCH in scores and image_auroc([float(label) for label in labels], labels) is not None:
        gain = image_auroc_difference(scores[requested], scores[Strategy.SCRATCH], labels, _RESAMPLES, seed)
    return StrategyChoice(strategy=requested, reason=f"--strategy {requested} was requested", gain=gain)


def _difference(taken: Attempt, scratch: Attempt, seed: int) -> Interval | None:
    """Compare with training from scratch on the labelled test split; None where it has no labelled defect."""
    labels = taken.labels
    if image_auroc([float(label) for label in labels], labels) is None:
        return None
    return image_auroc_difference(taken.scores, scratch.scores, labels, _RESAMPLES, seed)


def _choose_with_labels(attempts: Mapping[str, Mapping[Strategy, Attempt]], seed: int) -> str | None:
    """Say which strategy of each algorithm the labelled test split would have chosen by the same rule."""
    words = []
    for algorithm, found in attempts.items():
        labels = next(iter(found.values())).labels if found else ()
        if not labels or image_auroc([float(label) for label in labels], labels) is None:
            continue
        choice = choose_strategy({s: a.scores for s, a in found.items()}, labels, _RESAMPLES, seed)
        words.append(f"{algorithm} {choice.strategy}")
    return ", ".join(words) or None
