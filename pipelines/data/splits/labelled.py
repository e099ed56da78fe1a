"""Which groups with a labelled anomaly are chosen on; the others are tested on."""

from collections.abc import Mapping, Set
from typing import NamedTuple

from pipelines.core.records import LEAST_CHOSEN_ON, Label
from pipelines.core.surface_settings import SplitSettings

# The gate counts recall by as many (policy.gate.least_anomalies).
LEAST_TESTED_ON = 10
LEAST_LABELLED = LEAST_CHOSEN_ON + LEAST_TESTED_ON

# In place of `test` where a review said so, not the layout: of an image that is or was called anomalous.
REVIEWED = "reviewed"


class Given(NamedTuple):
    """How many groups with a labelled anomaly each of the two splits has."""

    validation: int = 0
    test: int = 0


def is_drawn_labelled(members: Set[tuple[str, str]], settings: SplitSettings) -> bool:
    """Tell whether a group may be given to the validation split for its anomalies.

    Args:
        members: The (label, declared split) of the images that decide for the group.
        settings: Say whether a share is chosen on, and whether the layout's own test split may be drawn from.

    Returns:
        False also where nobody vouches for one of its images: what is not anomalous in the split counts as normal.

    >>> is_drawn_labelled({("anomalous", "")}, SplitSettings()), is_drawn_labelled({("normal", "")}, SplitSettings())
    (True, False)
    """
    labels, declared = {label for label, _ in members}, {split for _, split in members}
    anomalous = Label.ANOMALOUS in labels or REVIEWED in declared
    held = "test" in declared and not settings.validation_from_test
    share = settings.labelled > 0 and settings.validation > 0
    return share and anomalous and not held and Label.UNKNOWN not in labels


def choose_labelled(ranks: Mapping[str, float], earlier: Given, share: float) -> set[str]:
    """Choose, of one arrival's groups with a labelled anomaly, those that go to the validation split.

    None while fewer than 15 have come. From then on those of a rank below the share, but as many that the validation
    split gets its least 5 and the test split keeps its least 10. What came before is not touched.

    Args:
        ranks: By group, a draw from [0, 1) that is the same whatever else is there.
        earlier: What earlier arrivals gave to each split.
        share: Of the groups, 0 to 1.

    Returns:
        Names of groups, the lowest ranks; the others are tested on.

    >>> ranks = {str(number): number / 20 for number in range(20)}
    >>> [len(choose_labelled(ranks, Given(), share)) for share in (0.1, 0.4, 0.9)]
    [5, 8, 10]
    >>> choose_labelled({"a": 0.9}, Given(test=13), 0.4), choose_labelled({"a": 0.9}, Given(test=14), 0.4)
    (set(), {'a'})
    """
    come = sum(earlier) + len(ranks)
    if come < LEAST_LABELLED:
        return set()
    drawn = sum(rank < share for rank in ranks.values())
    spare = earlier.test + len(ranks) - LEAST_TESTED_ON
    count = min(max(drawn, LEAST_CHOSEN_ON - earlier.validation), max(spare, 0))
    return set(sorted(ranks, key=lambda group: (ranks[group], group))[:count])
