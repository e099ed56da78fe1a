"""The champion's version was deleted on MLflow's page: commands offer the versions that are left."""

from pathlib import Path

import mlflow
import pytest

from pipelines.core.paths import Project
from pipelines.tracking.store import Tracking
from tests.conftest import call_knotwatch, run_knotwatch
from tests.flows.candidates import add_anomaly, equal
from tests.flows.projects import SURFACE, work_in_copy

pytestmark = [
    # MLflow's own, of its chat types, when mlflow.pyfunc is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
]


def test_the_versions_that_are_left_are_offered_and_one_can_be_promoted(
    trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = work_in_copy(trained_once, tmp_path / "project", monkeypatch)
    tracking = Tracking(project)
    left = add_anomaly(project, tracking, equal)
    offered = f"knotwatch promote {SURFACE} --version {left}"
    assert offered not in call_knotwatch(capsys, "models", SURFACE).out
    mlflow.MlflowClient(tracking.uri).delete_model_version(SURFACE, "1")
    assert offered in call_knotwatch(capsys, "models", SURFACE).out
    for words in (
        ["inspect", SURFACE, str(project.surface(SURFACE).source)],
        ["serve", SURFACE, "--port", "0"],
        ["models", SURFACE, "--lineage"],
    ):
        assert offered in call_knotwatch(capsys, *words, expect=1).err
    run_knotwatch(project.root, *offered.split()[1:], "--force", "--reason", "the champion is gone")
    assert tracking.aliases(SURFACE)["champion"] == left
