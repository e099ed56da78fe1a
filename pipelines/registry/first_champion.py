"""What the gate accepts for want of a champion to compare it with, and a person should see first."""

from pipelines.core.wording import count_in_words, share_in_words
from pipelines.metrics.conformal import most_by_chance
from pipelines.registry.decision import Evidence


def find_excess(evidence: Evidence, most: float) -> str:
    """Say why a version that nothing is compared with is not to be taken into use unasked; empty where it may be.

    Its threshold may be all that so few images allow, and yet stop a line all day: that is for a person to judge.

    Args:
        evidence: Of a version that the gate accepts; with a champion to compare with nothing is said.
        most: Largest share of normal images that may be flagged, 0 to 1; what chance explains in nine of ten samples
            is not held against it.

    Returns:
        The reason in words, with the ways out.
    """
    normals, flagged = evidence.images.normal, evidence.false_alarms
    if evidence.comparison is not None or flagged <= most_by_chance(most, normals):
        return ""
    return (
        f"it flags {flagged} of {count_in_words(normals, 'normal test image')} ({share_in_words(flagged / normals)}), "
        f"more than the {share_in_words(most)} of policy.max_false_positive_rate; add normal images and retrain, or "
        f"take it as it is: knotwatch promote {evidence.surface}"
    )
