"""Data under DVC, with the real command, called in this process, in a project of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.core.paths import Project
from tests.conftest import Knotwatch, call_knotwatch

NORMAL = 24


@pytest.fixture
def knotwatch(project: Project, capsys: pytest.CaptureFixture[str]) -> Knotwatch:
    """The command line in an empty project; DVC and its stages are processes, the command itself is not."""
    return lambda *words, **options: call_knotwatch(capsys, *words, **options)


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    """A `folder` data set of tiny boards: 24 normal ones and 2 with a dark knot."""
    source = tmp_path / "elsewhere" / "boards"
    for kind, count in (("good", NORMAL), ("bad", 2)):
        (source / kind).mkdir(parents=True)
        for number in range(count):
            draw_board(source / kind / f"board {number:02d}.png", seed=number, knot=kind == "bad")
    return source


def draw_board(path: Path, seed: int, *, knot: bool = False) -> None:
    generator = np.random.default_rng(seed + 1000 * knot)
    grain = 150 + 30 * np.sin(np.linspace(0, 12, 96) + generator.uniform(0, 6))[None, :, None]
    pixels = np.clip(grain + generator.normal(0, 12, (64, 96, 3)), 0, 255)
    if knot:
        pixels[20:40, 30:50] = 30
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def dvc(project: Project, *words: str) -> str:
    """Run DVC as a person would who has activated the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "dvc", *words]
    env = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=project.root, env=env, capture_output=True, text=True, check=True).stdout


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_update_prepares_only_what_is_new_and_equals_a_clean_run(
    knotwatch: Knotwatch, boards: Path, project: Project, tmp_path: Path
) -> None:
    before = tree(boards)
    first = knotwatch("data", "add", "oak", str(boards), "--layout", "folder", "--json").json
    assert (first["intake"]["new"], first["prepared"]) == (NORMAL + 2, NORMAL + 2)
    assert sum("split has" in warning for warning in first["verdict"]["warnings"]) == 4, "small splits were not told"
    paths = project.surface("oak")
    old = paths.prepared / "images" / "good" / "board 00.png.png"
    stamp = old.stat().st_mtime_ns
    draw_board(boards / "good" / "a new one.png", seed=99)
    second = knotwatch("data", "update", "oak", "--json").json
    assert (second["intake"]["new"], second["prepared"]) == (1, 1)
    assert second["data_version"] != first["data_version"]
    assert old.stat().st_mtime_ns == stamp, "an image that did not change was prepared again"

    shutil.rmtree(paths.work)
    knotwatch("data", "update", "oak")
    assert knotwatch("data", "show", "oak", "--json").json["data_version"] == second["data_version"]
    # Another way to the same images: all at once, under another name of the same length.
    fresh = knotwatch("data", "add", "ash", str(boards), "--layout", "folder", "--json").json
    # In a small set, what came later gets the splits that were left: the order belongs to the same data.
    shutil.copy(paths.arrivals, project.surface("ash").arrivals)
    knotwatch("data", "update", "ash")
    assert tree(project.surface("ash").prepared) == tree(paths.prepared)
    assert project.surface("ash").manifest.read_bytes() == paths.manifest.read_bytes()
    assert fresh["prepared"] == NORMAL + 3

    # A prepared file that somebody edited is made again.
    old.write_bytes(old.read_bytes() + b"edited")
    dvc(project, "repro", "-f", "preprocess@oak")
    assert knotwatch("data", "show", "oak", "--json").json["data_version"] == second["data_version"]

    back = knotwatch("data", "checkout", "oak", first["data_version"][:6])
    assert first["data_version"] in back.out
    assert not (paths.source / "good" / "a new one.png").exists()
    assert knotwatch("data", "show", "oak", "--json").json["data_version"] == first["data_version"]
    (boards / "good" / "a new one.png").unlink()
    assert tree(boards) == before, "the source was changed"


def test_a_second_surface_leaves_the_first_one_as_it_was(knotwatch: Knotwatch, boards: Path, project: Project) -> None:
    first = knotwatch("data", "add", "oak", str(boards), "--layout", "folder", "--json").json
    words = ("--layout", "procedural", "--normal", "8", "--defective", "2", "--size", "96x64")
    knotwatch("data", "add", "drawn", *words)
    assert knotwatch("data", "show", "oak", "--json").json["data_version"] == first["data_version"]
    listed = knotwatch("data", "list", "--json").json["surfaces"]
    assert [s["surface"] for s in listed] == ["drawn", "oak"]
    assert "up to date" in dvc(project, "status"), "`dvc repro` would do something that the command did not"
    knotwatch("data", "remove", "drawn", "--yes")
    assert not project.surface("drawn").raw.exists()
    assert "drawn" not in project.dvc_lock.read_text()


def test_bad_files_are_quarantined_and_too_many_stop_with_3(
    knotwatch: Knotwatch, boards: Path, project: Project
) -> None:
    (boards / "good" / "board 00.png").write_bytes((boards / "good" / "board 00.png").read_bytes()[:300])
    draw_board(boards / "rejects" / "1.png", seed=5)
    (boards / "Thumbs.db").write_bytes(b"x")
    one = knotwatch("data", "add", "oak", str(boards), "--layout", "folder", "--json").json
    said = "1 file not used: 1 in rejects/ (rejects/1.png)"
    assert [unused["count"] for unused in one["verdict"]["unused"]] == [1, 1]
    assert said in one["verdict"]["warnings"]
    shown = " ".join(knotwatch("data", "show", "oak").out.split())
    assert f"warning: {said}" in shown
    assert "1 file passed over: 1 sidecars, hidden and temporary files (Thumbs.db)" in shown
    assert [q["path"] for q in one["verdict"]["quarantined"]] == ["good/board 00.png"]
    (boards / "good" / "board 01.png").write_bytes(b"")
    refused = knotwatch("data", "update", "oak", expect=3)
    assert "board 00.png" in refused.err
    assert "board 01.png" in refused.err
    assert "max_quarantined_share" in refused.err
    assert project.surface("oak").verdict.is_file(), "a bad verdict must be left as well"


def test_what_a_killed_add_left_is_no_obstacle(knotwatch: Knotwatch, boards: Path, project: Project) -> None:
    leftover = project.surface("oak").source / "good" / "half.png"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half a file")
    knotwatch("data", "add", "oak", str(boards), "--layout", "folder")
    assert not leftover.exists()
    assert "exists" in knotwatch("data", "add", "oak", str(boards), "--layout", "folder", expect=2).err


def test_a_checkout_that_lacks_files_changes_nothing(knotwatch: Knotwatch, boards: Path, project: Project) -> None:
    first = knotwatch("data", "add", "oak", str(boards), "--layout", "folder", "--json").json
    (boards / "good" / "board 01.png").unlink()
    second = knotwatch("data", "update", "oak", "--prune", "--json").json
    shutil.rmtree(project.root / ".dvc/cache")
    paths = project.surface("oak")
    before = tree(paths.raw), tree(paths.prepared), project.dvc_lock.read_bytes()
    assert "lacks" in knotwatch("data", "checkout", "oak", first["data_version"], expect=1).err
    assert (tree(paths.raw), tree(paths.prepared), project.dvc_lock.read_bytes()) == before
    assert knotwatch("data", "show", "oak", "--json").json["data_version"] == second["data_version"]


def test_wrong_calls_name_the_hint_and_copy_nothing(knotwatch: Knotwatch, tmp_path: Path, project: Project) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    draw_board(tmp_path / "half" / "1.png", seed=1)
    draw_board(tmp_path / "half" / "more" / "2.png", seed=2)
    for words, said in (
        (("data", "add", "x", str(empty), "--layout", "folder"), "What to do"),
        (("data", "add", "x", str(tmp_path / "nowhere"), "--layout", "folder"), "nowhere"),
        (("data", "add", "x", str(tmp_path / "half"), "--layout", "unlabelled"), "--max-unused-share 1"),
        (("data", "add", "../x", str(empty), "--layout", "folder"), "cannot name a surface"),
        (("data", "show", "nosuch"), "no surface 'nosuch'"),
        (("retrain", "nosuch"), "knotwatch data add"),
        (("data", "push"), "dvc remote add"),
    ):
        assert said in knotwatch(*words, expect=2).err, words
    assert list((project.root / "data/raw").iterdir()) == []
    assert project.surface_names() == []


def test_push_and_pull_bring_the_files_back(
    knotwatch: Knotwatch, boards: Path, project: Project, tmp_path: Path
) -> None:
    dvc(project, "remote", "add", "-d", "store", str(tmp_path / "store"))
    # Without a surface DVC would be asked for whatever it tracks, unchecked.
    assert "there is no surface here" in knotwatch("data", "pull", expect=2).err
    knotwatch("data", "add", "oak", str(boards), "--layout", "folder")
    knotwatch("data", "push", "oak")
    paths = project.surface("oak")
    wanted = tree(paths.source), tree(paths.prepared)
    shutil.rmtree(paths.source)
    shutil.rmtree(paths.work)
    shutil.rmtree(project.root / ".dvc/cache")
    knotwatch("data", "pull", "oak")
    assert (tree(paths.source), tree(paths.prepared)) == wanted


def test_data_of_another_repository_records_its_commit(knotwatch: Knotwatch, boards: Path, project: Project) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
        done = subprocess.run(["git", *identity, *words], cwd=boards.parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", ".")
    git("add", "boards")
    git("commit", "-q", "-m", "boards")
    words = ("--layout", "folder", "--from-git", str(boards.parent))
    knotwatch("data", "add", "oak", "boards", *words)
    pointer = (project.surface("oak").raw / "source.dvc").read_text()
    assert git("rev-parse", "HEAD") in pointer
    draw_board(boards / "good" / "later.png", seed=77)
    git("add", "boards")
    git("commit", "-q", "-m", "one more")
    assert knotwatch("data", "update", "oak", "--json").json["intake"]["new"] == 1
    assert git("rev-parse", "HEAD") in (project.surface("oak").raw / "source.dvc").read_text()
