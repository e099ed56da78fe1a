"""What a trial is worth: what the validation split says, by the figures that choose between algorithms."""

from collections.abc import Mapping

from pipelines.core.records import LEAST_CHOSEN_ON, Record
from pipelines.training.choosing.figures import LABELLED, read_labelled
from pipelines.training.choosing.propose import NEAR


class Worth(Record):
    """The image AUROC, and an AUPRO that decides between trials where that is alike; `value` is both in one number.

    `told_by` says which anomalies of the validation split.
    """

    image_auroc: float
    aupro: float | None
    told_by: str

    @property
    def value(self) -> float:
        """Return the image AUROC; a whole AUPRO counts as much as the 0.01 below which two of those are alike."""
        return self.image_auroc + NEAR * (self.aupro or 0.0)


def weigh(figures: Mapping[str, float]) -> Worth | None:
    """Weigh what the validation split says of a version.

    Args:
        figures: By name, as `flatten_selection` names them. Those of at least 5 labelled anomalies are taken, else
            those of synthetic ones, as where an algorithm is proposed.

    Returns:
        What it is worth; None where the split is empty.

    >>> weigh({"image_auroc": 0.9, "aupro": 0.5}).value
    0.905
    """
    labelled = {name: figure.value for name, figure in read_labelled(figures).items()}
    number = int(figures.get(LABELLED, 0))
    by_labels = number >= LEAST_CHOSEN_ON and "image_auroc" in labelled
    told = labelled if by_labels else figures
    if "image_auroc" not in told:
        return None
    words = f"{number} labelled anomalies" if by_labels else "synthetic anomalies"
    return Worth(image_auroc=told["image_auroc"], aupro=told.get("aupro"), told_by=f"{words} of the validation split")
