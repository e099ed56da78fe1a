"""What is superseded goes, and nothing that is in use, that it was made of, or that somebody may return to."""

import os
from pathlib import Path

import pytest

from flows.operations.cleaning import choose_kept, clean
from pipelines.core.errors import ModelError, ToolError
from pipelines.core.files import write_whole
from pipelines.core.paths import Project
from pipelines.data.versioning.versions import is_current, kept_versions
from pipelines.detector.detector import Detector
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking
from tests.flows.candidates import add_anomaly, equal
from tests.flows.projects import SURFACE, work_in_copy
from tests.tiny_version import save_version


def version(surface: str, number: int, algorithm: str = "padim", *aliases: str, **tags: str) -> ModelVersion:
    return ModelVersion(
        surface=surface, version=number, run_id=str(number), algorithm=algorithm, tags=tags, aliases=aliases
    )


def test_the_newest_of_each_algorithm_and_all_that_is_in_use_are_kept_with_what_they_were_made_of() -> None:
    oak = [
        version("oak", 9),
        version("oak", 8, "fastflow"),
        version("oak", 7),
        version("oak", 6, "ensemble", "champion", members="padim/4, fastflow/3"),
        version("oak", 5),
        version("oak", 4),
        version("oak", 3, "fastflow", adapted_from="pine/2"),
        version("oak", 2),
        version("oak", 1),
    ]
    pine = [version("pine", 3), version("pine", 2), version("pine", 1, "padim", "challenger")]
    kept = choose_kept({"oak": oak, "pine": pine}, {"oak": [2, 6]}, 1)
    assert {number for surface, number in kept if surface == "oak"} == {9, 8, 6, 4, 3, 2}
    assert {number for surface, number in kept if surface == "pine"} == {3, 2, 1}
    assert {n for s, n in choose_kept({"oak": oak, "pine": pine}, {}, 3) if s == "oak"} == {9, 8, 7, 6, 5, 4, 3}


def plant(project: Project, name: str, age: float) -> Path:
    """Put a file into DVC's cache that nothing names."""
    file = project.root / ".dvc/cache/files/md5" / name
    write_whole(file, "old pixels")
    os.utime(file, (file.stat().st_mtime - age,) * 2)
    return file


def test_superseded_networks_and_data_go_and_the_rest_still_works(
    trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = work_in_copy(trained_once, tmp_path / "project", monkeypatch)
    tracking = Tracking(project)
    numbers = [add_anomaly(project, tracking, equal) for _ in range(3)]
    (current,) = kept_versions(project, SURFACE)
    kept_file = project.state / "versions" / SURFACE
    write_whole(kept_file / f"{'0' * 16}.json", (kept_file / f"{current}.json").read_text().replace(current, "0" * 16))
    os.utime(kept_file / f"{'0' * 16}.json", (0, 0))
    old, young = plant(project, "aa/old", 7200), plant(project, "aa/young", 60)
    cached = sorted((project.root / ".dvc/cache").rglob("*"))
    with monkeypatch.context() as patch:
        # Whatever holds a surface: what only reads does not ask.
        patch.setattr("flows.operations.cleaning.surface_lock", None)
        planned = clean(project, 1, dry_run=True)
    assert sorted((project.root / ".dvc/cache").rglob("*")) == cached
    done = clean(project, 1)
    assert planned == done.model_copy(update={"dry_run": True})
    assert done.models == (f"{SURFACE}/{numbers[1]} (padim)", f"{SURFACE}/{numbers[0]} (padim)")
    assert (done.data_versions, done.cached_files) == ((f"{SURFACE}: {'0' * 16}",), 1)
    assert (old.exists(), young.exists()) == (False, True), "DVC may be about to name what it has just written"
    for number in (1, numbers[2]):
        Detector(tracking.folder(SURFACE, number)).check_references()
    with pytest.raises(ModelError, match=r"were removed on .* as superseded"):
        tracking.folder(SURFACE, numbers[0])
    assert is_current(project, SURFACE)
    assert kept_versions(project, SURFACE) == [current]
    again = clean(project, 1)
    assert (again.models, again.data_versions, again.cached_files) == ((), (), 0)


def test_no_files_are_removed_that_a_kept_version_shares_or_that_are_not_the_project_s(project: Project) -> None:
    """MLflow's page registers a model twice by a click, and its server any folder by a request."""
    tracking, made = Tracking(project), project.root / "made"
    made.mkdir()
    with tracking.run(SURFACE, "padim", tags={}) as run:
        tracking.register(run, SURFACE, save_version(made), {"algorithm": "padim"}, "")
    tracking.set_alias(SURFACE, "champion", 1)
    outside = project.root / "mine/data/model/model.json"
    write_whole(outside, "{}")
    source = tracking.client.get_model_version(SURFACE, "1").source
    for place in (source, (project.root / "mine").as_uri(), source):
        tracking.client.create_model_version(SURFACE, place, tags={"algorithm": "mean"})
    done = clean(project, 1)
    assert done.models == ()
    assert [left.partition(", ")[0] for left in done.skipped] == [f"{SURFACE}/3 (mean)", f"{SURFACE}/2 (mean)"]
    assert outside.is_file()
    Detector(tracking.folder(SURFACE, 1)).check_references()


def test_where_a_dvc_file_cannot_be_read_nothing_is_removed(
    trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = work_in_copy(trained_once, tmp_path / "project", monkeypatch)
    number = add_anomaly(project, Tracking(project), equal)
    add_anomaly(project, Tracking(project), equal)
    old = plant(project, "aa/old", 7200)
    write_whole(project.root / "mine" / "photos.dvc", "outs: [{path: ../elsewhere}]")
    with pytest.raises(ToolError, match=r"photos\.dvc"):
        clean(project, 1)
    assert old.exists()
    assert Tracking(project).folder(SURFACE, number).is_dir()
