"""Take the pictures of MLflow's, Prefect's and our own pages that the docs show: python -m tests.shots PROJECT FOLDER.

The project is one that has trained on drawn boards; nothing of it is changed but what `knotwatch ui` changes.
"""

import argparse
import base64
import logging
import tempfile
from pathlib import Path
from typing import Any

from pipelines.core.paths import Project
from pipelines.reports.overview.surface_card import read_card
from tests.chromium import Tab, open_chromium
from tests.conftest import run_knotwatch
from tests.flows.started import Ui, start_ui

log = logging.getLogger(__name__)
_WIDE, _PHONE = (1400, 900), (390, 844)


def main() -> None:
    """Start the servers, open each page, and write a JPEG of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    project = Project(asked.project.resolve())
    with start_ui(project) as ui, tempfile.TemporaryDirectory() as profile, open_chromium(Path(profile)) as tab:
        for name, address in _pages(ui).items():
            _take(tab, address, asked.folder / f"{name}.jpg", _WIDE)
        index = (project.root / "data/reports/index.html").as_uri()
        _take(tab, index, asked.folder / "index-phone.jpg", _PHONE)


def _pages(ui: Ui) -> dict[str, str]:
    """Name each page; the one of Prefect's that lets the browser in comes before the others."""
    surface, used = _find_champion(ui.project)
    known = read_card(ui.project.surface(surface).reports).models
    number = known.champion.experiment if known and known.champion else "1"
    (flow_run,) = ui.api("flow_runs/filter", {"limit": 1, "sort": "START_TIME_DESC"})
    run = f"{ui.mlflow}/#/experiments/{number}/runs/{used['run_id']}"
    return {
        "index": (ui.project.root / "data/reports/index.html").as_uri(),
        "mlflow-start": f"{ui.mlflow}/",
        "mlflow-experiment": f"{ui.mlflow}/#/experiments/{number}",
        "mlflow-run": run,
        "mlflow-charts": f"{run}/model-metrics",
        "mlflow-roc": f"{run}/artifacts/charts/roc.svg",
        "mlflow-registered": f"{ui.mlflow}/#/models/{surface}",
        "mlflow-version": f"{ui.mlflow}/#/models/{surface}/versions/{used['version']}",
        "prefect-dashboard": ui.link,
        "prefect-run": f"{ui.prefect.removesuffix('/api')}/v2/runs/flow-run/{flow_run['id']}",
    }


def _find_champion(project: Project) -> tuple[str, Any]:
    """Find the first surface that has a version in use; others have no run to show."""
    for surface in project.surface_names():
        for model in run_knotwatch(project.root, "models", surface, "--json").json["models"]:
            if "champion" in model["aliases"]:
                return surface, model
    raise SystemExit(f"{project.root}: no surface has a version in use: knotwatch retrain SURFACE --profile quick")


def _take(tab: Tab, address: str, file: Path, size: tuple[int, int]) -> None:
    width, height = size
    view = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    tab.call("Emulation.setDeviceMetricsOverride", **view)
    tab.visit("about:blank")
    tab.visit(address)
    if not tab.settle():
        log.warning("%s: the page still changes, and is taken as it is", file.name)
    taken = tab.call("Page.captureScreenshot", format="jpeg", quality=80)
    file.write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
