"""MLflow's pages: their addresses, and the table of runs as they first show it."""

from typing import Any
from urllib.parse import quote

# MLflow's pages open in the view of language models unless the address says otherwise.
_VIEW = "workflowType=machine_learning"

# Beside name, date and duration, which MLflow always shows; it sorts figures by name. Who chooses others keeps them.
_COLUMNS = (
    "metrics.`test/image_auroc`",
    "metrics.`test/aupro`",
    "metrics.`test/image_recall`",
    "metrics.`test/false_positive_rate`",
    "tags.`algorithm`",
)

# As MLflow's page of an experiment keeps in the browser what is shown.
RUNS_TABLE: dict[str, Any] = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": list(_COLUMNS),
    "columnOrder": [],
    "columnWidths": {},
    "runsExpanded": {},
    "runsPinned": [],
    "runsHidden": [],
    "runsVisibilityMap": {},
    "runsHiddenMode": "FIRST_10_RUNS",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "autoRefreshEnabled": True,
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}


def experiment_page(server: str, experiment: str) -> str:
    """Address the page of an experiment's runs.

    Args:
        server: Address of MLflow's pages, without a slash at the end.
        experiment: MLflow's id of it.

    Returns:
        A link that opens in the view of model training.
    """
    return f"{server}/#/experiments/{quote(experiment, safe='')}/runs?{_VIEW}"


def run_page(server: str, experiment: str, run_id: str) -> str:
    """Address the page of a run.

    Args:
        server: Address of MLflow's pages, without a slash at the end.
        experiment: MLflow's id of the run's experiment.
        run_id: MLflow's id of the run.

    Returns:
        A link that opens in the view of model training.
    """
    return f"{server}/#/experiments/{quote(experiment, safe='')}/runs/{quote(run_id, safe='')}?{_VIEW}"


def version_page(server: str, surface: str, version: int) -> str:
    """Address the page of a registered version.

    Args:
        server: Address of MLflow's pages, without a slash at the end.
        surface: Name of the registered model.
        version: Number of the version.

    Returns:
        A link that opens in the view of model training.
    """
    return f"{server}/#/models/{quote(surface, safe='')}/versions/{version}?{_VIEW}"
