"""Damage as a user meets it: `doctor`, `promote --dry-run` and `inspect` name it, and none of them says "good"."""

from pathlib import Path

import mlflow
import pytest

from flows.promotion.requests import decide_promotion
from flows.runtime.session import look_at
from flows.upkeep.doctor import examine
from pipelines.core.paths import Project
from pipelines.tracking.store import Tracking
from tests import tiny_version as tiny
from tests.conftest import run_knotwatch
from tests.flows.candidates import add_anomaly, equal
from tests.flows.projects import SURFACE, work_in_copy

pytestmark = [
    # MLflow's own, of its chat types, when mlflow.pyfunc is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
]


@pytest.fixture
def project(trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return work_in_copy(trained_once, tmp_path / "project", monkeypatch)


@pytest.fixture
def tracking(project: Project) -> Tracking:
    return Tracking(project)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (tiny.raise_threshold, "is damaged: model.json was changed"),
        (tiny.flip_bits, "is damaged: model.bin was changed"),
        (tiny.and_its_line(tiny.raise_threshold, "model.json"), "is damaged: checksums.json was changed"),
    ],
    ids=["threshold", "bits", "list"],
)
def test_doctor_and_the_gate_call_a_damaged_version_damaged(
    project: Project, tracking: Tracking, attack: tiny.Attack, said: str
) -> None:
    candidate = add_anomaly(project, tracking, equal)
    attack(tracking.folder(SURFACE, candidate))
    record = decide_promotion(look_at(SURFACE), candidate, dry_run=True)
    assert not record.accepted
    assert said in record.message
    (before,) = (check for check in examine(project) if check.name == "champions")
    assert before.good
    attack(tracking.folder(SURFACE, 1))
    (found,) = (check for check in examine(project) if check.name == "champions")
    assert not found.good
    assert said in found.found


def test_inspect_ends_with_1_where_a_champion_is_damaged_or_gives_what_is_not_finite(
    project: Project, tracking: Tracking
) -> None:
    folder, board = tracking.folder(SURFACE, 1), next((project.surface(SURFACE).source / "images").iterdir())
    message = ("inspect", SURFACE, str(board), "--no-pictures", "--json")
    tiny.spoil_weights(folder)
    refused = run_knotwatch(project.root, *message, expect=1)
    assert "is damaged: model.bin was changed" in refused.json["error"]
    assert f"knotwatch rollback {SURFACE}" in refused.json["hint"]
    # As a version was registered before there were checksums.
    (folder / "checksums.json").unlink()
    mlflow.MlflowClient(tracking.uri).delete_model_version_tag(SURFACE, "1", "checksums_sha256")
    unchecked = run_knotwatch(project.root, *message, expect=1)
    assert unchecked.err.count("registered without checksums") == 1
    (image,) = unchecked.json["images"]
    assert (image["score"], image["anomalous"], unchecked.json["unreadable"]) == (None, None, 1)
    assert "not finite" in image["error"]
