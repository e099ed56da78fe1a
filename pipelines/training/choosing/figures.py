"""The validation split's figures by name, as MLflow, summaries and the choice of an algorithm have them.

NAME is a figure of synthetic anomalies, `labelled_NAME` of labelled ones, with its bounds as MLflow's names have them.
"""

from collections.abc import Mapping

from pipelines.core.records import Interval
from pipelines.core.results import Selection

PREFIX = "labelled_"
LABELLED = f"{PREFIX}anomalies"  # how many there are
_BOUNDS = ("_low", "_high")


def flatten_intervals(figures: Mapping[str, Interval]) -> dict[str, float]:
    """Return figures by name, with those bounds that there are.

    >>> flatten_intervals({"aupro": Interval(value=0.5, low=0.4, high=0.7), "image_ap": Interval(value=1)})
    {'aupro': 0.5, 'image_ap': 1.0, 'aupro_low': 0.4, 'aupro_high': 0.7}
    """
    found = {name: figure.value for name, figure in figures.items()}
    for name, figure in figures.items():
        bounds = zip(_BOUNDS, (figure.low, figure.high), strict=True)
        found |= {f"{name}{side}": bound for side, bound in bounds if bound is not None}
    return found


def flatten_selection(selection: Selection) -> dict[str, float]:
    """Return every figure of the validation split by name; those of labelled anomalies only where there are any."""
    if not selection.labelled_metrics:
        return dict(selection.metrics)
    told = {f"{PREFIX}{name}": figure for name, figure in selection.labelled_metrics.items()}
    return {**selection.metrics, **flatten_intervals(told), LABELLED: float(selection.labelled)}


def read_labelled(validation: Mapping[str, float]) -> dict[str, Interval]:
    """Read back the figures of labelled anomalies from those that `flatten_selection` wrote.

    Args:
        validation: Figures by name; those of synthetic anomalies are left out.

    Returns:
        Figures with their bounds, by their names without `labelled_`; empty where nothing was labelled.

    >>> read_labelled({"aupro": 0.5, "labelled_aupro": 0.7, "labelled_aupro_low": 0.6, "labelled_anomalies": 9.0})
    {'aupro': Interval(value=0.7, low=0.6, high=None)}
    """
    told = {name: value for name, value in validation.items() if name.startswith(PREFIX) and name != LABELLED}
    return {
        name.removeprefix(PREFIX): Interval(value=value, low=told.get(f"{name}_low"), high=told.get(f"{name}_high"))
        for name, value in told.items()
        if not name.endswith(_BOUNDS)
    }
