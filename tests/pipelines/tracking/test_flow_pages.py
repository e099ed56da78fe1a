"""Runs that were made while no server had pages are linked to the pages that there are now."""

from pathlib import Path

import pytest

from pipelines.core.paths import Project
from pipelines.tracking.flow_pages import fill_flow_pages
from pipelines.tracking.store import Tracking

PREFECT = "http://127.0.0.1:4300"
KEPT = "https://prefect.example/runs/flow-run/d"


def test_links_that_lead_nowhere_are_mended_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")
    store = Tracking(Project(tmp_path))
    pages = {"a": "", "b": "None/flow-runs/flow-run/b", "c": "http://127.0.0.1:4200/flow-runs/flow-run/c", "d": KEPT}
    runs = {}
    for flow_run, page in pages.items():
        tags = {"prefect_flow_run": flow_run} | ({"prefect_page": page} if page else {})
        with store.run("oak", flow_run, tags=tags) as run:
            runs[flow_run] = run.id
    with store.run("oak", "by hand", tags={}) as run:
        runs["none"] = run.id
    assert fill_flow_pages(store, PREFECT) == 3
    found = {name: store.client.get_run(run_id).data.tags.get("prefect_page") for name, run_id in runs.items()}
    mended = {name: f"{PREFECT}/flow-runs/flow-run/{name}" for name in "abc"}
    assert found == {**mended, "d": KEPT, "none": None}
    assert fill_flow_pages(store, PREFECT) == 0
