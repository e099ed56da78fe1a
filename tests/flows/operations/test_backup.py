"""A trained project in one file, restored into an empty clone; and files that are no backup, or were changed."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from flows.operations import backup as room
from flows.operations.backup import back_up, restore
from pipelines.core.errors import CallError, KnotwatchError, ToolError
from pipelines.core.paths import Project
from tests.conftest import make_project, run_knotwatch
from tests.flows.projects import SURFACE, copy_project


def say(project: Project, *words: str) -> Any:
    return run_knotwatch(project.root, *words, "--json").json


def test_a_trained_project_comes_back_whole(trained_once: Project, tmp_path: Path) -> None:
    old = copy_project(trained_once, tmp_path / "old")
    file = tmp_path / "boards.zip"
    assert say(old, "backup", str(file))["images"], "no remote has them"
    wanted = say(old, "models", SURFACE)
    shutil.rmtree(old.root)
    new = make_project(tmp_path / "new")
    assert say(new, "restore", str(file))["surfaces"] == [SURFACE]
    assert say(new, "models", SURFACE) == wanted
    again = say(new, "retrain", SURFACE, "--profile", "quick")
    assert again["skipped"], "data, settings and champion are not what they were"
    with pytest.raises(CallError, match=f"holds the surface '{SURFACE}' already"):
        restore(new, file)


@pytest.fixture
def small(tmp_path: Path) -> Project:
    """A project without runs: settings, a history and an image in DVC's cache."""
    project = make_project(tmp_path / "small")
    for name, text in {
        "data/surfaces/oak.yaml": "source: {layout: folder}\n",
        "data/work/oak/history/1.parquet": "rows",
        ".dvc/cache/files/md5/ab/cdef": "pixels",
        ".knotwatch/mlflow/artifacts/oak/model.bin": "weights",
        ".knotwatch/prefect-secret": "nobody else's",
    }.items():
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_text(text)
    return project


def test_images_are_taken_on_request_and_secrets_never(small: Project, tmp_path: Path) -> None:
    back_up(small, tmp_path / "all.zip", images=True)
    back_up(small, tmp_path / "few.zip", images=False)
    names = [set(zipfile.ZipFile(tmp_path / name).namelist()) for name in ("all.zip", "few.zip")]
    assert names[0] - names[1] == {".dvc/cache/files/md5/ab/cdef"}
    assert "data/work/oak/history/1.parquet" in names[1]
    assert not any("secret" in name for name in names[0])
    with pytest.raises(CallError, match="there already"):
        back_up(small, tmp_path / "all.zip")


def change(file: Path, name: str, data: bytes, target: str | None = None) -> Path:
    """Write a backup again with one member changed, and added under another name where `target` is one."""
    changed = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(changed, "w") as new:
        for member in old.namelist():
            new.writestr(member, data if member == name and target is None else old.read(member))
        if target:
            new.writestr(target, data)
    return changed


def list_too(manifest: dict[str, dict[str, object]], name: str) -> bytes:
    """Return a manifest that also lists a file of that name, rightly."""
    entry = {"size": 4, "sha256": room.hashlib.sha256(b"evil").hexdigest()}
    return json.dumps({**manifest, "files": {**manifest["files"], name: entry}}).encode()


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("../outside.txt", "leads out of the folder"),
        ("/etc/outside", "leads out of the folder"),
        ("flows/evil.py", "which no backup has"),
        ("data/../flows/evil.py", "leads out of the folder"),
        (".git/hooks/post-checkout", "which no backup has"),
        (".dvc/config", "which no backup has"),
        # What DVC reads anywhere in the project: `dvc repro` would run its commands.
        ("data/raw/oak/dvc.yaml", "which no backup has"),
        ("data/work/oak/history/dvc.yaml", "which no backup has"),
        ("data/work/oak/review/1/source.dvc", "which no backup has"),
        ("data/reports/index.html", "which no backup has"),
        ("data/raw/oak/source.dvc", "does not point at what lies beside it"),
    ],
)
def test_a_file_that_belongs_elsewhere_is_refused(small: Project, tmp_path: Path, name: str, refusal: str) -> None:
    back_up(small, tmp_path / "few.zip", images=False)
    with zipfile.ZipFile(tmp_path / "few.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
    added = change(tmp_path / "few.zip", "", b"evil", name)
    hostile = change(added.rename(tmp_path / "added.zip"), "manifest.json", list_too(manifest, name))
    empty = make_project(tmp_path / "empty")
    with pytest.raises(ToolError, match=refusal):
        restore(empty, hostile)
    assert empty.surface_names() == []
    assert not list(tmp_path.rglob("evil.py"))


def test_a_small_file_that_would_fill_memory_or_disk_is_refused(small: Project, tmp_path: Path) -> None:
    file, empty = tmp_path / "few.zip", make_project(tmp_path / "empty")
    back_up(small, file, images=False)
    manifest = json.loads(zipfile.ZipFile(file).read("manifest.json"))
    manifest["files"]["data/surfaces/zeros.yaml"] = {"size": 10**17, "sha256": "0" * 64}
    with pytest.raises(ToolError, match=r"becomes 100,000,000\.0 GB"):
        restore(empty, change(file, "manifest.json", json.dumps(manifest).encode()))
    with pytest.raises(ToolError, match="longer than any could be"):
        restore(empty, change(file, "manifest.json", b" " * 3 * 10**6))
    assert empty.surface_names() == []


def test_what_was_changed_or_cut_is_refused_before_anything_is_written(small: Project, tmp_path: Path) -> None:
    file = tmp_path / "few.zip"
    back_up(small, file, images=False)
    empty = make_project(tmp_path / "empty")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(file.read_bytes()[:-200])
    newer = json.loads(zipfile.ZipFile(file).read("manifest.json")) | {"written_by": "99.0"}
    for bad, why in (
        (change(file, ".knotwatch/mlflow/artifacts/oak/model.bin", b"others"), "is not what was written"),
        (cut, "is damaged, or no backup"),
    ):
        with pytest.raises(ToolError, match=why):
            restore(empty, bad)
    with pytest.raises(CallError, match=r"written by knotwatch 99\.0"):
        restore(empty, change(file, "manifest.json", json.dumps(newer).encode()))
    for odd in ("abc", "", "1..2"):
        damaged = json.dumps({**newer, "written_by": odd}).encode()
        with pytest.raises(ToolError, match=r"its manifest\.json cannot be read"):
            restore(empty, change(file, "manifest.json", damaged))
    assert empty.surface_names() == []


def test_a_restore_that_was_stopped_goes_on(small: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "few.zip"
    back_up(small, file, images=False)
    empty, written, unpack = make_project(tmp_path / "empty"), [], room._unpack

    def stop(archive: zipfile.ZipFile, name: str, path: Path) -> None:
        written.append(name)
        if len(written) == 3:
            raise KeyboardInterrupt
        unpack(archive, name, path)

    with monkeypatch.context() as patch:
        patch.setattr(room, "_unpack", stop)
        with pytest.raises(KeyboardInterrupt):
            restore(empty, file)
    assert restore(empty, file).surfaces == ("oak",)
    assert (empty.root / ".knotwatch/mlflow/artifacts/oak/model.bin").read_text() == "weights"
    with pytest.raises(KnotwatchError, match="already"):
        restore(empty, file)
