"""What the attempts of an adaptation come to: one strategy an algorithm, one version, and what it gained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flows.adapting.attempt import Attempt
from pipelines.core.errors import ModelError
from pipelines.core.records import Interval, Record, Strategy
from pipelines.metrics.curves import image_auroc
from pipelines.metrics.paired import image_auroc_difference
from pipelines.models.registry import by_preference, find_algorithm
from pipelines.training.choosing.propose import AUTO, Figures, Proposal, choose_proposal
from pipelines.training.transfer.strategy import StrategyChoice, choose_strategy, find_likelihood_gains

FEW_IMAGES = "anomalydino"
_RESAMPLES = 1000  # resamples of the choice: cheap, and a profile of less effort must not choose worse


class Chosen(Record):
    """The attempt that becomes a version, why, and what the source was worth.

    `gain` is by how much what learnt from the source ranks higher (image AUROC) than what did without, each the best of
    its kind by the same rule; one of the two is `attempt`, the other `compared`. It is of the test split where that has
    labelled defects (`on_test`), else of synthetic ones. `with_labels` says in words what the test split's labels would
    have chosen.
    """

    attempt: Attempt
    reason: str
    compared: Attempt | None = None
    gain: Interval | None
    on_test: bool
    with_labels: str | None


class _Taken(NamedTuple):
    attempt: Attempt
    reason: str


def choose_attempt(attempts: Sequence[Attempt], requested: Strategy | None, seed: int, wanted: str = AUTO) -> Chosen:
    """Choose among attempts with the same images: a strategy for each algorithm, then the algorithm.

    Args:
        attempts: At most one for each algorithm and strategy; those by `nearest` are for comparison and never chosen.
        requested: Strategy to take of every algorithm that was tried by it; None lets the figures choose.
        seed: Of the bootstrap: the same attempts and seed give the same choice.
        wanted: `policy.propose` of the target: the algorithm to take where it was tried, or `auto`.

    Returns:
        The attempt that becomes a version, why, and what the source was worth.

    Raises:
        ModelError: If no attempt came to an end that can be used.
    """
    usable = [a for a in attempts if a.strategy != Strategy.NEAREST]
    taken = _take(usable, requested, seed, wanted)
    if taken is None:
        raise ModelError("no strategy came to an end", hint="read the failures above; retrain the source")
    learnt = taken.attempt.strategy != Strategy.SCRATCH
    others = _take([a for a in usable if (a.strategy != Strategy.SCRATCH) != learnt], None, seed, wanted)
    gain, on_test = None, False
    if others is not None:
        sides = (taken.attempt, others.attempt) if learnt else (others.attempt, taken.attempt)
        gain, on_test = _difference(*sides, seed)
    return Chosen(
        attempt=taken.attempt,
        reason=taken.reason,
        compared=others.attempt if others else None,
        gain=gain,
        on_test=on_test,
        with_labels=_choose_with_labels(_by_algorithm(usable), seed),
    )


def _by_algorithm(attempts: Sequence[Attempt]) -> dict[str, dict[Strategy, Attempt]]:
    names = by_preference(sorted({a.algorithm for a in attempts}))
    return {algorithm: {a.strategy: a for a in attempts if a.algorithm == algorithm} for algorithm in names}


def _take(attempts: Sequence[Attempt], requested: Strategy | None, seed: int, wanted: str) -> _Taken | None:
    """Take a strategy of each algorithm, then an algorithm; None where no attempt can be taken."""
    found = _by_algorithm(attempts)
    choices = {a: _choose(tried, requested, seed) for a, tried in found.items() if _has(tried, requested)}
    figures = {a: found[a][choice.strategy].selection.metrics for a, choice in choices.items()}
    proposal = _propose(figures, wanted)
    if proposal is None:
        return None
    choice = choices[proposal.algorithm]
    reason = choice.reason if len(choices) == 1 else f"{choice.reason}; among algorithms: {proposal.reason}"
    return _Taken(found[proposal.algorithm][choice.strategy], reason)


def _propose(figures: Mapping[str, Figures], wanted: str) -> Proposal | None:
    """Take the bank of tokens where it was tried: synthetic anomalies do not say which is best of a few images.

    What it comes to from 4 images of four surfaces stands in docs/decisions/0045-ensembles.md.
    """
    if wanted == AUTO and FEW_IMAGES in figures and len(figures) > 1:
        other = choose_proposal(figures)
        also = f"; synthetic anomalies would have taken {other.algorithm}" if other else ""
        return Proposal(algorithm=FEW_IMAGES, reason=f"of few images {FEW_IMAGES} is taken{also}")
    return choose_proposal(figures, wanted)


def _has(found: Mapping[Strategy, Attempt], requested: Strategy | None) -> bool:
    return bool(found) if requested is None else requested in found


def _choose(found: Mapping[Strategy, Attempt], requested: Strategy | None, seed: int) -> StrategyChoice:
    labels = next(iter(found.values())).selection.holds_defect
    scores = {strategy: attempt.selection.scores for strategy, attempt in found.items()}
    if requested is None:
        alarming = [strategy for strategy, attempt in found.items() if attempt.alarming]
        likelihood_gains = find_likelihood_gains(found)
        by_rule = find_algorithm(next(iter(found.values())).algorithm).by_rule
        return choose_strategy(scores, labels, _RESAMPLES, seed, alarming, likelihood_gains, by_rule)
    return StrategyChoice(strategy=requested, reason=f"--strategy {requested} was requested")


def _difference(one: Attempt, other: Attempt, seed: int) -> tuple[Interval | None, bool]:
    """Say how much higher one ranks, and whether the labelled test split says so, or synthetic anomalies."""
    for on_test, labels in ((True, one.labels), (False, one.selection.holds_defect)):
        # Two algorithms may have been judged on different images of those that were drawn.
        if not on_test and labels != other.selection.holds_defect:
            continue
        if image_auroc([float(label) for label in labels], labels) is not None:
            ours, theirs = (a.scores if on_test else a.selection.scores for a in (one, other))
            return image_auroc_difference(ours, theirs, labels, _RESAMPLES, seed), on_test
    return None, False


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
