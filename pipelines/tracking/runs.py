"""An MLflow run while it is being written."""

import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import psutil
from mlflow.entities import Metric, Param
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

_BATCH = 1000  # metrics; MLflow takes no more at once
MOST_TAG = 4000  # characters; MLflow refuses tags of versions above 5,000

# What the groups that MLflow's pages fold figures into are called outside them; old stores have no groups.
_GROUPS = {
    "validation/": "validation_",
    "types/": "types_",
    **dict.fromkeys(("test/", "cost/", "threshold/", "transfer/"), ""),
}

# The tag that says who writes a run, so that a later process can tell whether it still does.
PROCESS = "process"


def process_tag() -> str:
    """Name this process so that no later one is taken for it: host, number and start."""
    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time():.2f}"


def without_groups(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return a run's metrics under the names that answers have, in whichever way they were logged.

    >>> without_groups({"test/aupro": 0.5, "validation/aupro": 0.6, "pixel_auroc": 0.7})
    {'aupro': 0.5, 'validation_aupro': 0.6, 'pixel_auroc': 0.7}
    """
    found = {}
    for name, value in metrics.items():
        group = next((group for group in _GROUPS if name.startswith(group)), "")
        found[_GROUPS.get(group, "") + name.removeprefix(group)] = value
    return found


class Run:
    """An MLflow run that is being written."""

    def __init__(self, client: "mlflow.MlflowClient", made: "mlflow.entities.Run", parent: str = "") -> None:
        self._client = client
        self.id: str = made.info.run_id
        self.name: str = made.info.run_name
        self.experiment: str = made.info.experiment_id
        self.started = datetime.fromtimestamp(made.info.start_time / 1000, UTC)
        self.parent = parent
        self.failed = False

    def fail(self, reason: str) -> None:
        """Say why the run is to end as failed, without ending it now."""
        self.failed = True
        self.tags({"failure": reason})

    def params(self, values: Mapping[str, Any]) -> None:
        self._client.log_batch(self.id, params=[Param(key, str(value)) for key, value in values.items()])

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log figures; what MLflow forbids in a name (a defect type is the user's word) becomes `_`."""
        now = int(time.time() * 1000)
        named = {re.sub(r"[^\w. /-]", "_", key)[:250]: value for key, value in values.items()}
        self._client.log_batch(self.id, metrics=[Metric(key, value, now, 0) for key, value in named.items()])

    def curves(self, lines: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Log values by training step, for MLflow's charts; names become `training/NAME`."""
        now = int(time.time() * 1000)
        values = [Metric(f"training/{n}", value, now, step) for n, points in lines.items() for step, value in points]
        for start in range(0, len(values), _BATCH):
            self._client.log_batch(self.id, metrics=values[start : start + _BATCH])

    def tags(self, values: Mapping[str, str]) -> None:
        for key, value in values.items():
            self._client.set_tag(self.id, key, value[:MOST_TAG])

    def describe(self, text: str) -> None:
        """Say in Markdown what the run is, on its page."""
        self.tags({MLFLOW_RUN_NOTE: text})

    def text(self, text: str, name: str) -> None:
        """Store a text as one of the run's files.

        Args:
            text: Written as UTF-8.
            name: POSIX path among the run's artefacts; a file there is replaced.
        """
        self._client.log_text(self.id, text, name)

    def files(self, folder: Path, name: str | None = None) -> None:
        """Store all files of a folder with the run.

        Args:
            folder: Copied with its subfolders.
            name: POSIX path among the run's artefacts to put them below; None puts them at the top.
        """
        self._client.log_artifacts(self.id, str(folder), name)
