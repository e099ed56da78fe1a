"""The page of all results follows what the commands do, and never fails one."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import mlflow
import pytest

from flows.commands.registry import call_promote, call_rollback, list_models
from flows.dataset.surface import remove_surface
from flows.runtime.report_index import find_servers, update_index
from pipelines.core.paths import Project
from pipelines.reports.folders import PAGE, list_runs
from pipelines.reports.overview.surface_card import read_card
from pipelines.tracking.store import Tracking
from tests.conftest import run_knotwatch
from tests.flows.candidates import add_anomaly, equal
from tests.flows.projects import SURFACE, work_in_copy

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
]


@pytest.fixture
def project(trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the trained project, which is the current folder."""
    return work_in_copy(trained_once, tmp_path / "project", monkeypatch)


def page(project: Project) -> str:
    return (project.root / "data/reports" / PAGE).read_text(encoding="utf-8")


def test_after_a_retrain_every_page_is_reached_from_the_index_and_leads_back(project: Project) -> None:
    """All links between pages lead to a file, and no page loads anything."""
    index = project.root / "data/reports" / PAGE
    html = page(project)
    assert "In use: version 1 (padim)" in html
    assert 'src="data:image/jpeg;base64,' in html
    assert "/flow-runs/flow-run/" in html
    seen: set[Path] = set()
    left = [index]
    while left:
        here = left.pop()
        seen.add(here)
        text = here.read_text(encoding="utf-8")
        assert all(found.startswith("data:image/") for found in re.findall(r'\ssrc="([^"]*)"', text)), here
        for link in re.findall(r'<a href="([^"#]*)', text):
            target = (here.parent / unquote(link)).resolve()
            assert link.startswith("http://127.0.0.1:") or not link or target.exists(), f"{here}: {link}"
            # Great Expectations' own pages, and folders.
            if target.suffix == ".html" and "validation" not in target.parts and target not in seen:
                left.append(target)
    written = {p for p in index.parent.rglob("*.html") if "validation" not in p.parts}
    assert seen == written, "a page that nothing leads to, or a link to none"
    assert all('index.html#drawn">all results' in p.read_text() for p in written - {index})
    assert len(written) == 5, "the index, the validation, a comparison, a version and a decision"


def test_promotion_rollback_and_removal_are_on_the_page_at_once(project: Project) -> None:
    second = add_anomaly(project, Tracking(project), equal)
    call_promote(SURFACE, second, dry_run=False, force_reason="a test wants it")
    assert f"In use: version {second} (padim)" in page(project)
    call_rollback(SURFACE, None, "worse by night <b>")
    html = page(project)
    assert "In use: version 1 (padim)" in html
    assert "held by the rollback" in html
    assert "returned to version 1" in html
    assert "by night <b>" not in html
    remove_surface(project, SURFACE)
    assert SURFACE not in page(project)
    assert "There is no surface yet" in page(project)
    assert not project.surface(SURFACE).reports.exists()


def test_what_was_moved_by_hand_is_seen_when_versions_are_listed(project: Project) -> None:
    mlflow.MlflowClient(Tracking(project).uri).delete_registered_model_alias(SURFACE, "champion")
    update_index(project, SURFACE, Tracking(project))
    assert "In use: version 1" in page(project)
    list_models(SURFACE)
    assert "None of 1 version is in use" in page(project)


def test_with_nothing_changed_mlflow_is_not_asked_and_nothing_is_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = Tracking(project)
    update_index(project, SURFACE, tracking)
    written: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        for module in ("pipelines.reports.overview.index_page", "pipelines.reports.overview.surface_card"):
            patch.setattr(f"{module}.write_whole", lambda path, _: written.update([path.name]))
        patch.setattr(tracking, "_client", None)
        update_index(project, SURFACE, tracking)
    assert not written
    (project.surface(SURFACE).reports / "overview.json").unlink()
    update_index(project, SURFACE, tracking)
    assert read_card(project.surface(SURFACE).reports).models, "a surface of which nothing was known was not looked up"


def test_a_page_that_cannot_be_written_fails_no_command(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    index = project.root / "data/reports" / PAGE
    index.unlink()
    index.mkdir()
    (index / "kept").touch()
    update_index(project, SURFACE, Tracking(project))
    assert "data/reports/index.html is not up to date" in caplog.text
    listed = run_knotwatch(project.root, "models", SURFACE)
    assert "not up to date" in listed.err
    assert "all results: data/reports/index.html" in listed.out


def test_links_lead_to_the_servers_in_use_and_hold_no_password(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_servers(project) == ("http://127.0.0.1:5000", "http://127.0.0.1:4200")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:se@cret@runs.example:8/ml/")
    monkeypatch.setenv("PREFECT_API_URL", "http://ann:secret@127.0.0.1:77/api")
    assert find_servers(project) == ("https://runs.example:8/ml", "http://127.0.0.1:77")


def test_a_retrain_names_folders_by_time_and_kind(project: Project) -> None:
    found = [noted.folder.name for noted in list_runs(project.surface(SURFACE).reports)]
    assert len(found) == 2
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d-\d{4}-retrain-quick(-padim)?", name) for name in found)
