"""The figures that MLflow's pages show of a run: few, rounded, in groups. All of them are in the run's files."""

from collections.abc import Mapping

from pipelines.core.records import Interval

TEST = (
    *("image_auroc", "aupro", "image_recall", "false_positive_rate", "image_f1", "image_ap", "pixel_auroc"),
    "outline_iou",
)
VALIDATION = ("image_auroc", "aupro", "pixel_auroc", "labelled_image_auroc", "labelled_aupro")
_DIGITS = 4


def shown_figures(test: Mapping[str, Interval], validation: Mapping[str, float]) -> dict[str, float]:
    """Choose what a run's page shows of the test and the validation split.

    Args:
        test: Figures of the test split by name.
        validation: Figures of the validation split by name, as `flatten_selection` names them.

    Returns:
        Figures by `test/NAME` and `validation/NAME`, rounded; those that there are.

    >>> shown_figures({"aupro": Interval(value=0.51239), "image_f1_max": Interval(value=1)}, {"image_auroc": 0.9})
    {'test/aupro': 0.5124, 'validation/image_auroc': 0.9}
    """
    found = {f"test/{name}": test[name].value for name in TEST if name in test}
    found |= {f"validation/{name}": validation[name] for name in VALIDATION if name in validation}
    return {name: round(value, _DIGITS) for name, value in found.items()}
