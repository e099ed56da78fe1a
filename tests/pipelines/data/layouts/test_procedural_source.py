"""The drawn data set on disk: what it holds, what growth and other settings do to it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.core.errors import CallError, SourceError
from pipelines.core.records import Label
from pipelines.core.surface_settings import ProceduralSettings
from pipelines.data.layouts.procedural import read_procedural, write_procedural
from pipelines.imaging.procedural import FABRIC_DEFECTS, WOOD_DEFECTS, draw

SMALL = ProceduralSettings(seed=3, normal=4, defective=6, width=96, height=64)


def _files(folder: Path) -> Mapping[str, tuple[bytes, int]]:
    found = sorted(folder.glob("*/*"))
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_rows_agree_with_the_files(tmp_path: Path) -> None:
    write_procedural(SMALL, tmp_path)
    rows = read_procedural(tmp_path)
    assert [row.label for row in rows] == [Label.NORMAL] * 4 + [Label.ANOMALOUS] * 6
    assert rows[0].path == "images/wood-0001.png"
    assert {name for row in rows for name in row.defects.values()} == set(WOOD_DEFECTS.values())
    for row in rows:
        with Image.open(tmp_path / row.path) as image:
            assert (image.mode, image.size) == ("RGB", (96, 64))
        assert row.condition in {"even light", "side light"}
        assert row.declared_split is None
        assert row.group is None
        assert (row.mask is None) == (row.label is Label.NORMAL)
        if row.mask is not None:
            assert row.typed_mask
            with Image.open(tmp_path / row.mask) as mask:
                assert set(np.unique(np.asarray(mask))) - {0} == set(row.defects)


def test_growth_adds_files_and_touches_none(tmp_path: Path) -> None:
    write_procedural(SMALL, tmp_path)
    before = _files(tmp_path)
    write_procedural(SMALL.model_copy(update={"normal": 6, "defective": 8}), tmp_path)
    after = _files(tmp_path)
    assert len(after) == len(before) + 2 + 2 * 2
    assert all(after[name] == content for name, content in before.items())
    assert len(read_procedural(tmp_path)) == 14


def test_a_file_is_the_same_in_any_set_of_its_seed(tmp_path: Path) -> None:
    write_procedural(SMALL, tmp_path / "small")
    write_procedural(SMALL.model_copy(update={"normal": 2, "defective": 7}), tmp_path / "other")
    small, other = _files(tmp_path / "small"), _files(tmp_path / "other")
    shared = small.keys() & other.keys()
    assert len(shared) == 2 + 2 * 6
    assert all(small[name][0] == other[name][0] for name in shared)


def test_fewer_or_other_pictures_leave_no_remains(tmp_path: Path) -> None:
    write_procedural(SMALL, tmp_path)
    write_procedural(SMALL.model_copy(update={"normal": 2}), tmp_path)
    assert len(list(tmp_path.glob("images/*"))) == 8
    wood = _files(tmp_path)["images/wood-0001.png"]
    write_procedural(SMALL.model_copy(update={"seed": 4}), tmp_path)
    assert _files(tmp_path)["images/wood-0001.png"][0] != wood[0]
    write_procedural(SMALL.model_copy(update={"material": "fabric", "normal": 1, "defective": 3}), tmp_path)
    assert sorted(p.name for p in tmp_path.glob("images/*")) == [
        "fabric-0001.png",
        *(f"fabric-defect-000{i}.png" for i in (1, 2, 3)),
    ]
    shown = {name for row in read_procedural(tmp_path) for name in row.defects.values()}
    assert shown == set(FABRIC_DEFECTS.values())


def test_a_look_is_another_picture_and_an_unknown_one_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    write_procedural(SMALL, tmp_path)
    usual = _files(tmp_path)
    for look, same in (("oak", False), ("pine", True)):
        write_procedural(SMALL.model_copy(update={"look": look}), tmp_path)
        assert (_files(tmp_path)["images/wood-0001.png"][0] == usual["images/wood-0001.png"][0]) == same
    assert draw("wood", 1, 64, 96, look="walnut").image.mean() < draw("wood", 1, 64, 96).image.mean()
    with pytest.raises(CallError, match=r"'linen'[^:]*: .*choose one of pine, oak, walnut, alder"):
        write_procedural(SMALL.model_copy(update={"look": "linen"}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_interrupted_run_is_completed(tmp_path: Path) -> None:
    write_procedural(SMALL, tmp_path)
    whole = {name: content for name, (content, _) in _files(tmp_path).items()}
    (tmp_path / "images/wood-0002.png").unlink()
    (tmp_path / "masks/wood-defect-0002.png").unlink()
    (tmp_path / "images/.wood-0003.png.k3f").write_bytes(b"half")
    write_procedural(SMALL, tmp_path)
    assert {name: content for name, (content, _) in _files(tmp_path).items()} == whole


def test_a_damaged_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"labels\.csv is missing"):
        read_procedural(tmp_path)
    write_procedural(SMALL, tmp_path)
    (tmp_path / "images/wood-0002.png").unlink()
    with pytest.raises(SourceError, match=r"wood-0002\.png is missing"):
        read_procedural(tmp_path)
    write_procedural(SMALL, tmp_path)
    (tmp_path / "defects.json").write_text('{"1": "live knot"}')
    with pytest.raises(SourceError, match="damaged"):
        read_procedural(tmp_path)
