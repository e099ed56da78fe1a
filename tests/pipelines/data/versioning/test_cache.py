"""DVC's cache as a failing disk leaves it: what is damaged is not checked out, and comes back from another copy."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from pipelines.core.errors import ToolError
from pipelines.data.versioning.cache import Kept, heal, list_kept, refuse_changed
from pipelines.data.versioning.dvc_files import DvcFile
from pipelines.data.versioning.rwlock import drop_torn_note

FILES = {"bad/b.png": b"second", "good/a.png": b"first"}


@pytest.fixture
def out(tmp_path: Path) -> DvcFile:
    """A folder of two files, which the cache holds."""
    for name, data in FILES.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        put(tmp_path, data)
    rows = [{"md5": md5(data), "relpath": name} for name, data in FILES.items()]
    return DvcFile(path="source", md5=put(tmp_path, json.dumps(rows).encode()) + ".dir")


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def put(root: Path, data: bytes) -> str:
    name = md5(data)
    path = root / "cache/files/md5" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


def find(root: Path, out: DvcFile) -> list[Kept]:
    # DVC names a folder's list with its ending, too.
    found = root / "cache/files/md5" / str(out.md5)[:2] / str(out.md5)[2:]
    plain = found.with_suffix("")
    if plain.is_file():
        plain.rename(found)
    return list(list_kept(root / "cache", root, [out]))


def test_a_changed_file_is_refused_and_one_that_is_gone_is_dvcs_affair(tmp_path: Path, out: DvcFile) -> None:
    folder, first, second = find(tmp_path, out)
    assert [folder.path.name, first.path.name, second.path.name] == ["source", "b.png", "a.png"]
    first.cached.unlink()
    refuse_changed(tmp_path / "cache", tmp_path, [out])
    second.cached.write_bytes(b"fourth")
    with pytest.raises(ToolError, match=r"1 file in DVC's cache changed .* which is source/good/a.png"):
        refuse_changed(tmp_path / "cache", tmp_path, [out])


def test_a_file_comes_back_from_the_first_copy_that_is_the_same(tmp_path: Path, out: DvcFile) -> None:
    _, first, _ = find(tmp_path, out)
    first.cached.unlink()
    other = tmp_path / "other.png"
    other.write_bytes(b"third")
    assert heal(first, [tmp_path / "none.png", other]) is None
    assert not first.cached.exists()
    assert heal(first, [other, first.path]) == first.path
    assert first.is_cached


def test_a_pipe_in_a_folder_holds_no_repair_up(tmp_path: Path, out: DvcFile) -> None:
    folder, first, _ = find(tmp_path, out)
    folder.cached.unlink()
    first.cached.unlink()
    os.mkfifo(tmp_path / "source/pipe")
    assert heal(folder, [folder.path]) is None
    assert heal(first, [tmp_path / "source/pipe"]) is None


def test_a_folders_list_is_made_again_where_all_of_it_is_there(tmp_path: Path, out: DvcFile) -> None:
    folder, first, _ = find(tmp_path, out)
    folder.cached.unlink()
    assert [kept.path.name for kept in find(tmp_path, out)] == ["source"]
    first.path.rename(tmp_path / "away")
    assert heal(folder, [folder.path]) is None
    (tmp_path / "away").rename(first.path)
    assert heal(folder, [folder.path]) == folder.path
    assert len(find(tmp_path, out)) == 3


@pytest.mark.parametrize(("text", "stays"), [("", False), ('{"read', False), ("{}", True), ('{"write": {}}', True)])
def test_a_torn_note_of_dvc_goes_and_a_whole_one_stays(tmp_path: Path, text: str, stays: bool) -> None:
    note = tmp_path / ".dvc/tmp/rwlock"
    drop_torn_note(tmp_path)
    note.parent.mkdir(parents=True)
    note.write_text(text)
    drop_torn_note(tmp_path)
    assert note.exists() == stays
