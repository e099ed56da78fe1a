"""Stage: choose how a surface learns from another, by held-out images with synthetic anomalies alone."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np

from pipelines.core.records import Interval, Record, Strategy
from pipelines.core.wording import interval_in_words
from pipelines.metrics.curves import image_auroc
from pipelines.metrics.paired import image_auroc_difference

# From what takes nothing of the source to what takes most work: the later must show a gain over the earlier.
_CLIMB = (Strategy.SCRATCH, Strategy.REUSE, Strategy.STATISTICS, Strategy.FINETUNE)


class HasDensities(Protocol):
    """What a fit says of held-out tiles; see pipelines/models/fitted.py."""

    @property
    def likelihood_gains(self) -> tuple[float, ...]: ...

    @property
    def densities(self) -> tuple[float, ...]: ...


def find_likelihood_gains(found: Mapping[Strategy, HasDensities]) -> dict[Strategy, tuple[float, ...]]:
    """Say of each strategy how much higher in log-likelihood held-out images are than with training from
    scratch, where anything says so.
    """
    from_scratch = found[Strategy.SCRATCH].densities if Strategy.SCRATCH in found else ()
    return {
        strategy: method.likelihood_gains
        or (_subtract(method.densities, from_scratch) if strategy != Strategy.SCRATCH else ())
        for strategy, method in found.items()
    }


def _subtract(densities: Sequence[float], from_scratch: Sequence[float]) -> tuple[float, ...]:
    if not densities or not from_scratch:
        return ()
    return tuple(own - other for own, other in zip(densities, from_scratch, strict=True))


class StrategyChoice(Record):
    """The strategy that is taken, why, and how much higher than training from scratch it ranks (image AUROC)."""

    strategy: Strategy
    reason: str
    gain: Interval | None = None


def choose_strategy(
    scores: Mapping[Strategy, Sequence[float]],
    anomalous: Sequence[bool],
    resamples: int,
    seed: int,
    alarming: Collection[Strategy] = (),
    likelihood_gains: Mapping[Strategy, Sequence[float]] = MappingProxyType({}),
    by_rule: Strategy = Strategy.SCRATCH,
) -> StrategyChoice:
    """Choose among strategies by their scores of the same images.

    Training from scratch is taken unless another shows a gain: a difference in image AUROC whose paired 95 % interval
    lies above 0. `reuse` must show it over `scratch`, `statistics` and `finetune` over what was taken before them, so
    that a source that harms is not used ("negative transfer", Wang et al. 2019). Where synthetic anomalies cannot tell
    a strategy from training from scratch, log-likelihood decides, again with the whole interval above 0. Without images
    the algorithm's own rule decides.

    Args:
        scores: Image scores of each strategy that was tried, in the order of `anomalous`, each on its own scale.
            `nearest` is for comparison alone and passed over; at least one other must be there.
        anomalous: Which images show a defect. Where one class is absent, the rule decides.
        resamples: Of the bootstrap behind intervals. With 0 there are none, and no strategy shows a gain.
        seed: Draws the resamples.
        alarming: Strategies that flag more normal images than their guarantee allows; passed over if another is left.
        likelihood_gains: By how much each held-out image has a higher log-likelihood (a dimension) than without the
            source. One image alone shows nothing.
        by_rule: What is taken where nothing is there to choose on: `Algorithm.by_rule`. Where it was not tried, what
            takes least of the source.

    Returns:
        The strategy and why; its gain in image AUROC over training from scratch, where that was tried and not taken.

    >>> tried = {Strategy.SCRATCH: (), Strategy.STATISTICS: (), Strategy.FINETUNE: ()}
    >>> choose_strategy(tried, (), resamples=100, seed=0).reason
    'by rule: no image is held out to choose on'
    """
    order = [s for s in _CLIMB if s in scores]
    if image_auroc([float(a) for a in anomalous], anomalous) is None:
        taken = by_rule if by_rule in order else order[0]
        return StrategyChoice(strategy=taken, reason="by rule: no image is held out to choose on")
    open_to = [s for s in order if s not in alarming] or order
    taken, said = open_to[0], []
    for other in open_to[1:]:
        gain = image_auroc_difference(scores[other], scores[taken], anomalous, resamples, seed)
        if gain is not None and gain.low is not None and gain.low > 0:
            said.append(f"{other} ranks better than {taken} by {interval_in_words(gain)}")
            taken = other
        elif (
            taken == Strategy.SCRATCH
            and _is_no_loss(gain)
            and _is_likelihood_gain(likelihood_gains.get(other, ()), resamples, seed)
        ):
            said.append(
                f"synthetic anomalies do not tell {other} from {taken}, and what is held out has a higher "
                "log-likelihood with it"
            )
            taken = other
        elif gain is not None:
            said.append(f"{other} shows no gain over {taken}: {interval_in_words(gain)}")
    said += [f"{s} flags too many normal images" for s in order if s not in open_to]
    gain = None
    if taken != Strategy.SCRATCH and Strategy.SCRATCH in scores:
        gain = image_auroc_difference(scores[taken], scores[Strategy.SCRATCH], anomalous, resamples, seed)
    return StrategyChoice(strategy=taken, reason="; ".join(said) or "the only strategy that was tried", gain=gain)


def _is_no_loss(gain: Interval | None) -> bool:
    return gain is not None and gain.high is not None and gain.high >= 0


def _is_likelihood_gain(gains: Sequence[float], resamples: int, seed: int) -> bool:
    """Tell whether the mean gain is above 0 with its whole 95 % interval; one image alone shows nothing."""
    if len(gains) < 2 or not resamples:
        return False
    draws = np.random.default_rng(seed).choice(np.asarray(gains), (resamples, len(gains))).mean(axis=1)
    return bool(np.quantile(draws, 0.025) > 0)
