"""Data versions: what they depend on, what they refuse, and what DVC says when it fails."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.core.errors import BusyError, ToolError
from pipelines.core.paths import Project
from pipelines.data.versioning import versions
from pipelines.data.versioning.dvc_command import run_dvc
from pipelines.data.versioning.rwlock import live_holders
from pipelines.data.versioning.versions import (
    DataVersion,
    capture,
    data_version,
    forget_lock_entries,
    kept_versions,
    read_kept,
    restore,
)

POINTER = "outs:\n- md5: 1\n  path: source\n"


def entry(stage: str, surface: str, md5: str) -> dict[str, Any]:
    return {
        "cmd": f"python -m pipelines.{stage} {surface}",
        "deps": [{"path": f"data/raw/{surface}/source", "md5": "0" * 32}],
        "outs": [{"path": f"data/work/{surface}/{stage}", "md5": md5 * 32, "size": 1}],
    }


def lock(project: Project, **surfaces: str) -> None:
    """Write a dvc.lock in which both stages of each surface made outputs of this (one-digit) hash."""
    stages = {
        f"{stage}@{name}": entry(stage, name, md5)
        for name, md5 in surfaces.items()
        for stage in ("validate", "preprocess")
    }
    project.dvc_lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    """A folder with one surface, `oak`, and a lock; no DVC project."""
    project = Project(tmp_path)
    paths = project.surface("oak")
    for path, text in ((paths.settings, "source: {}\n"), (paths.raw / "source.dvc", POINTER)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    lock(project, oak="a")
    return project


def test_a_version_hashes_the_surfaces_own_outputs_only(bare: Project) -> None:
    first = data_version(bare, "oak")
    assert first is not None
    assert len(first) == 16
    lock(bare, oak="a", **{"oak-2": "c", "ash": "d"})
    assert data_version(bare, "oak") == first
    stages = yaml.safe_load(bare.dvc_lock.read_text())
    stages["stages"]["validate@oak"]["deps"][0]["md5"] = "f" * 32
    bare.dvc_lock.write_text(yaml.safe_dump(stages))
    assert data_version(bare, "oak") == first, "what the stages read does not count, only what they made"
    lock(bare, oak="b")
    assert data_version(bare, "oak") != first


def test_without_both_stages_there_is_no_version(bare: Project) -> None:
    assert data_version(bare, "ash") is None
    stages = yaml.safe_load(bare.dvc_lock.read_text())
    del stages["stages"]["preprocess@oak"]
    bare.dvc_lock.write_text(yaml.safe_dump(stages))
    assert data_version(bare, "oak") is None
    with pytest.raises(ToolError, match="have not run"):
        capture(bare, "oak")
    bare.dvc_lock.unlink()
    assert data_version(bare, "oak") is None
    bare.dvc_lock.touch()
    assert data_version(bare, "oak") is None


def test_a_captured_version_is_found_by_its_beginning(bare: Project) -> None:
    kept = capture(bare, "oak")
    lock(bare, oak="b")
    later = capture(bare, "oak")
    assert set(kept_versions(bare, "oak")) == {kept.version, later.version}
    assert read_kept(bare, "oak", kept.version[:8]) == kept
    assert kept.pointers == {"source.dvc": POINTER}
    assert set(kept.lock) == {"validate@oak", "preprocess@oak"}
    assert read_kept(bare, "oak", "") is None, "two versions begin like this"
    assert read_kept(bare, "oak", "../oak") is None
    assert read_kept(bare, "ash", kept.version) is None


def test_restoring_changes_one_surface_and_checks_out_no_other(bare: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = capture(bare, "oak")
    lock(bare, oak="b", ash="d")
    paths = bare.surface("oak")
    paths.settings.write_text("source: {}\nvalidation: {later: 1}\n")
    (paths.raw / "source.dvc").write_text(POINTER.replace("1", "2"))
    requested: list[tuple[str, ...]] = []
    monkeypatch.setattr(versions, "run_dvc", lambda _, *words: requested.append(words) or "")
    restore(bare, "oak", kept, lambda: None)
    assert data_version(bare, "oak") == kept.version
    assert yaml.safe_load(bare.dvc_lock.read_text())["stages"]["validate@ash"] == entry("validate", "ash", "d")
    assert (paths.raw / "source.dvc").read_text() == POINTER
    assert paths.settings.read_text() == "source: {}\n"
    assert requested[-1:] == [("checkout", "--force", "data/raw/oak/source.dvc", "validate@oak", "preprocess@oak")]


@pytest.mark.parametrize("name", ["../../../evil", "/evil.dvc", "source.dvc/../x", "oak.dvc", ""])
def test_a_foreign_pointer_is_refused_before_anything_is_written(bare: Project, name: str) -> None:
    kept = capture(bare, "oak")
    evil = kept.model_copy(update={"pointers": {"source.dvc": POINTER, name: "x"}, "settings": "changed"})
    before = {p: p.read_bytes() for p in bare.root.rglob("*") if p.is_file()}
    with pytest.raises(ToolError, match="is not of 'oak'"):
        restore(bare, "oak", evil, lambda: None)
    assert {p: p.read_bytes() for p in bare.root.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "text",
    [
        "wdir: ../../..\nouts:\n- path: source\n",
        "outs:\n- path: ../../../flows\n",
        "outs: []\n",
        "just words",
        # DVC would copy that file into the surface's data with the next `data update` or `retrain`.
        "frozen: true\ndeps:\n- path: /home/me/.ssh/id_ed25519\nouts:\n- path: source\n",
        "frozen: false\ndeps:\n- path: d\n  repo: {url: /home/me/private}\nouts:\n- path: source\n",
        "cmd: touch evil\nouts:\n- path: source\n",
    ],
)
def test_a_pointer_that_leads_elsewhere_is_refused(bare: Project, text: str) -> None:
    evil = capture(bare, "oak").model_copy(update={"pointers": {"source.dvc": text}})
    with pytest.raises(ToolError, match="is not of 'oak'"):
        restore(bare, "oak", evil, lambda: None)
    assert (bare.surface("oak").raw / "source.dvc").read_text() == POINTER


def test_a_shared_version_names_no_private_folder_as_source_and_switches_no_signatures_off(
    bare: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = bare.surface("oak").settings
    settings.write_text("source: {layout: folder, path: /photos}\npolicy: {require_signature: true}\n")
    kept = capture(bare, "oak")
    theirs = "source: {layout: mvtec, path: /home/me/private, git_url: x}\npolicy: {latency_ms: 5}\nsplit: {small: 3}\n"
    monkeypatch.setattr(versions, "run_dvc", lambda *_: "")
    restore(bare, "oak", kept.model_copy(update={"settings": theirs}), lambda: None)
    found = yaml.safe_load(settings.read_text())
    assert found["source"] == {"layout": "mvtec", "path": "/photos"}
    assert found["policy"] == {"latency_ms": 5, "require_signature": True}
    assert found["split"] == {"small": 3}
    before = settings.read_text()
    with pytest.raises(ToolError, match="holds other data than that"):
        restore(bare, "oak", kept.model_copy(update={"version": "0" * 16}), lambda: None)
    assert settings.read_text() == before


def test_outputs_outside_the_surfaces_folder_are_refused(bare: Project) -> None:
    kept = capture(bare, "oak")
    stolen = {
        name: {**stage, "outs": [{"path": "data/work/oak/../../../flows", "md5": "1"}]}
        for name, stage in kept.lock.items()
    }
    with pytest.raises(ToolError, match="is not of 'oak'"):
        restore(bare, "oak", kept.model_copy(update={"lock": stolen}), lambda: None)


def test_what_dvc_cannot_bring_leaves_everything_as_it_was(bare: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = capture(bare, "oak")
    lock(bare, oak="b")
    bare.surface("oak").settings.write_text("source: {later: 1}\n")
    before = {p: p.read_bytes() for p in bare.root.rglob("*") if p.is_file()}
    lacking = json.dumps({"not_in_cache": ["data/raw/oak/source/a.png"]})
    monkeypatch.setattr(
        versions, "run_dvc", lambda _, *words: lacking if words[0] == "data" else pytest.fail("deleted")
    )
    with pytest.raises(ToolError, match="lacks 1 files"):
        restore(bare, "oak", kept, lambda: None)
    assert {p: p.read_bytes() for p in bare.root.rglob("*") if p.is_file()} == before


def test_a_version_of_another_surface_is_refused(bare: Project) -> None:
    lock(bare, oak="a", ash="d")
    paths = bare.surface("ash")
    for path in (paths.settings, paths.raw / "source.dvc"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x: 1\n")
    out_of_distribution = capture(bare, "ash")
    before = bare.dvc_lock.read_bytes()
    with pytest.raises(ToolError, match="@ash', which is not of 'oak'"):
        restore(bare, "oak", out_of_distribution, lambda: None)
    assert bare.dvc_lock.read_bytes() == before


def test_forgetting_a_surface_leaves_the_others(bare: Project) -> None:
    lock(bare, oak="a", **{"oak-2": "c"})
    forget_lock_entries(bare, "oak")
    stages = yaml.safe_load(bare.dvc_lock.read_text())["stages"]
    assert set(stages) == {"validate@oak-2", "preprocess@oak-2"}


@pytest.mark.services
def test_a_failing_command_says_dvcs_own_words(project: Project) -> None:
    assert run_dvc(project, "remote", "list") == ""
    with pytest.raises(ToolError, match=r"`dvc checkout nosuch` failed: .*nosuch"):
        run_dvc(project, "checkout", "nosuch")


def test_a_busy_project_is_told_from_a_failing_one(bare: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        assert command[:3] == [sys.executable, "-m", "dvc"]
        return subprocess.CompletedProcess(command, 255, "", said)

    monkeypatch.setattr("pipelines.data.versioning.dvc_command.subprocess.run", answer)
    said = "ERROR: Unable to acquire lock. Most likely another DVC process is running"
    with pytest.raises(BusyError, match="another DVC command"):
        run_dvc(bare, "repro")
    said = "x" * 9000 + " ERROR: the end of it"
    with pytest.raises(ToolError, match="the end of it") as failed:
        run_dvc(bare, "repro")
    assert len(failed.value.problem) < 2000


def test_what_a_killed_call_left_at_work_is_waited_for(bare: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """`data update`, ended by SIGKILL, leaves its `dvc repro` running: the next call failed, naming a process."""
    run = subprocess.run
    sleep = "import sys, time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", sleep, "dvc"], cwd=bare.root) as left:
        note = bare.root / ".dvc/tmp/rwlock"
        note.parent.mkdir(parents=True, exist_ok=True)
        holder = {"pid": left.pid, "cmd": "dvc repro"}
        # One that has ended since, and one whose number somebody else has by now.
        gone = [{"pid": 2**22 - 1, "cmd": "dvc add"}, {"pid": os.getpid(), "cmd": "dvc add"}]
        note.write_text(json.dumps({"/x/source": {"write": holder, "read": gone}}))
        assert [process.pid for process in live_holders(bare.root)] == [left.pid]
        said = f"ERROR: '/x/source' is busy, it is being blocked by:\n  (PID {left.pid}): dvc repro"
        answers = [subprocess.CompletedProcess([], 255, "", said), subprocess.CompletedProcess([], 0, "done", "")]

        def answer(*_: object, **__: object) -> "subprocess.CompletedProcess[str]":
            if len(answers) == 2:
                threading.Timer(0.3, left.kill).start()
            else:
                assert left.poll() is not None, "it was asked again while the other one worked"
            return answers.pop(0)

        monkeypatch.setattr("pipelines.data.versioning.dvc_command.subprocess.run", answer)
        assert run_dvc(bare, "add", "source") == "done"
        monkeypatch.setattr("pipelines.data.versioning.dvc_command.subprocess.run", run)
    assert live_holders(bare.root) == []


def test_a_version_survives_its_way_through_json(bare: Project) -> None:
    kept = capture(bare, "oak")
    assert DataVersion.model_validate(json.loads(kept.model_dump_json())) == kept
