"""Stage: choose how a surface learns from another, by held-back photographs with planted defects alone."""

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
_BY_RULE = (Strategy.STATISTICS, Strategy.REUSE, Strategy.SCRATCH)


class HasDensities(Protocol):
    """What a fit says of held-out tiles; see pipelines/models/fitted.py."""

    @property
    def likelier(self) -> tuple[float, ...]: ...

    @property
    def densities(self) -> tuple[float, ...]: ...


def find_likelier(found: Mapping[Strategy, HasDensities]) -> dict[Strategy, tuple[float, ...]]:
    """Say of each way how much likelier held-out photographs are than with starting afresh, where anything says so."""
    afresh = found[Strategy.SCRATCH].densities if Strategy.SCRATCH in found else ()
    return {
        strategy: way.likelier or (_subtract(way.densities, afresh) if strategy != Strategy.SCRATCH else ())
        for strategy, way in found.items()
    }


def _subtract(densities: Sequence[float], afresh: Sequence[float]) -> tuple[float, ...]:
    if not densities or not afresh:
        return ()
    return tuple(own - other for own, other in zip(densities, afresh, strict=True))


class StrategyChoice(Record):
    """The strategy that is taken, why, and how much higher than starting afresh it ranks (image AUROC)."""

    strategy: Strategy
    reason: str
    gain: Interval | None = None


def choose_strategy(
    scores: Mapping[Strategy, Sequence[float]],
    anomalous: Sequence[bool],
    rounds: int,
    seed: int,
    alarming: Collection[Strategy] = (),
    likelier: Mapping[Strategy, Sequence[float]] = MappingProxyType({}),
) -> StrategyChoice:
    """Choose among strategies by their scores of the same photographs, `anomalous` where they show a defect.

    Starting afresh is taken unless another shows a gain: a difference in image AUROC whose paired 95 % interval lies
    above 0. `reuse` must show it over `scratch`, `statistics` and `finetune` over what was taken before them, so that
    a source that harms is not used ("negative transfer", Wang et al. 2019). Strategies that are `alarming` mark more
    sound photographs than their promise allows and are passed over while another is left. Where planted defects cannot
    tell a strategy from starting afresh, `likelier` decides: by how much each held-back photograph is likelier than
    without the source, again with the whole interval above 0. Without photographs a rule decides: `statistics`, which
    forgets most of what the source's surface looked like.

    Raises:
        KeyError: for no strategy at all, `nearest` apart, which is for comparison alone.
    """
    order = [s for s in _CLIMB if s in scores]
    if image_auroc([float(a) for a in anomalous], anomalous) is None:
        taken = next(s for s in _BY_RULE if s in order)
        return StrategyChoice(strategy=taken, reason="by rule: no photograph is held back to choose on")
    open_to = [s for s in order if s not in alarming] or order
    taken, said = open_to[0], []
    for other in open_to[1:]:
        gain = image_auroc_difference(scores[other], scores[taken], anomalous, rounds, seed)
        if gain is not None and gain.low is not None and gain.low > 0:
            said.append(f"{other} ranks better than {taken} by {interval_in_words(gain)}")
            taken = other
        elif taken == Strategy.SCRATCH and _is_no_loss(gain) and _is_likelier(likelier.get(other, ()), rounds, seed):
            said.append(f"planted defects do not tell {other} from {taken}, and what is held back is likelier with it")
            taken = other
        elif gain is not None:
            said.append(f"{other} shows no gain over {taken}: {interval_in_words(gain)}")
    said += [f"{s} marks too many sound photographs" for s in order if s not in open_to]
    gain = None
    if taken != Strategy.SCRATCH and Strategy.SCRATCH in scores:
        gain = image_auroc_difference(scores[taken], scores[Strategy.SCRATCH], anomalous, rounds, seed)
    return StrategyChoice(strategy=taken, reason="; ".join(said) or "the only strategy that was tried", gain=gain)


def _is_no_loss(gain: Interval | None) -> bool:
    return gain is not None and gain.high is not None and gain.high >= 0


def _is_likelier(gains: Sequence[float], rounds: int, seed: int) -> bool:
    """Tell whether the mean gain is above 0 with its whole 95 % interval; one photograph alone shows nothing."""
    if len(gains) < 2 or not rounds:
        return False
    draws = np.random.default_rng(seed).choice(np.asarray(gains), (rounds, len(gains))).mean(axis=1)
    return bool(np.quantile(draws, 0.025) > 0)
