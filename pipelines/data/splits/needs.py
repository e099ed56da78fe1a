"""How many groups each split needs, and which of a small set's groups are given to a split that has fewer."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipelines.core.records import Split
from pipelines.core.surface_settings import SplitSettings

# In the order in which splits get their first group. Fewer for validation, and the gate's least 10 anomalies would be
# drawn into the same images twice; 19 calibrate a false-positive rate of 5 %; 15 show one in steps of 7 %.
NEEDS: Mapping[Split, int] = {Split.TRAIN: 30, Split.CALIBRATION: 19, Split.VALIDATION: 10, Split.TEST: 15}


class Drawn(NamedTuple):
    """A group's split as the hash has it, and those that it may be given to: none where its images say the split."""

    split: Split
    others: frozenset[Split] = frozenset()


def find_needs(settings: SplitSettings) -> dict[Split, int]:
    """Say how many groups each split needs at least; 0 where the settings give it no share."""
    shares = {
        Split.TRAIN: settings.train,
        Split.VALIDATION: settings.validation,
        Split.CALIBRATION: round(1 - settings.train - settings.validation, 9),
        Split.TEST: settings.test,
    }
    return {split: least if shares[split] > 0 else 0 for split, least in NEEDS.items()}


def mend(
    drawn: Mapping[str, Drawn], settled: Mapping[Split, int], needs: Mapping[Split, int], rank: Callable[[str], float]
) -> dict[str, Split]:
    """Give groups of one arrival to splits that have less than they need, from those that are better off.

    One by one, to the split that has the smallest part of its need, from the one with the largest, until each has its
    need, or all have the same part of it. What came before is not touched.

    Args:
        drawn: By the arrival's groups, which split the hash gives each.
        settled: How many groups of earlier arrivals each split has; 0 where it is not in it.
        needs: Least number of groups of each split; earlier splits go first where parts are equal.
        rank: Which of a split's groups goes first, the lowest; the same for a group whatever else is there.

    Returns:
        A split for each group of `drawn`.

    >>> a, b = Drawn(Split.TEST, frozenset(Split)), Drawn(Split.TEST, frozenset(Split))
    >>> [split.value for split in mend({"a": a, "b": b}, {}, NEEDS, {"a": 0.1, "b": 0.2}.__getitem__).values()]
    ['train', 'calibration']
    """
    found = {group: one.split for group, one in drawn.items()}
    free = sorted((group for group in drawn if drawn[group].others), key=rank)
    have = Counter(settled) + Counter(found.values())
    order = list(needs)

    def part(split: Split, more: int = 0) -> tuple[float, int]:
        return ((have[split] + more) / needs[split] if needs[split] else float("inf"), order.index(split))

    def move_one() -> bool:
        for poor in sorted((s for s in order if have[s] < needs[s]), key=part):
            rich = [g for g in free if poor in drawn[g].others and part(found[g], -1) > part(poor)]
            if rich:
                chosen = max(rich, key=lambda g: part(found[g]))
                have[found[chosen]] -= 1
                have[poor] += 1
                found[chosen] = poor
                return True
        return False

    while move_one():
        pass
    return found
