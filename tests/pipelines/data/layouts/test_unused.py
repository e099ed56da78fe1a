"""Whatever file of a source no row uses is counted by reason and named, in every layout."""

import os
from pathlib import Path

import pytest

from pipelines.core.records import Layout
from pipelines.data.layouts import read_source, source_files
from pipelines.data.layouts.unused import describe_unused, find_unused

_HEADER = "image,mask,location,defects"


def make_tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels")
    return folder


def count_unused(layout: Layout, folder: Path) -> dict[str, int]:
    """Count by reason, and see that every file of the folder is either used or counted."""
    used = source_files(layout, folder, read_source(layout, folder))
    unused = find_unused(layout, folder, used)
    there = sum(path.is_file() for path in folder.rglob("*"))
    assert len(used) + sum(one.count for one in unused) == there
    return {one.reason: one.count for one in unused}


@pytest.mark.parametrize(
    ("layout", "used", "unused"),
    [
        (
            Layout.FOLDER,
            ["good/1.png", "bad/2.png", "masks/2.png"],
            {"masks/3.png": "masks without an image", "extra/4.png": "in extra/", "5.png": "directly in the folder"},
        ),
        (
            Layout.MVTEC,
            ["train/good/1.png", "test/cut/2.png"],
            {
                "ground_truth/cut/9_mask.png": "masks without an image",
                "train/good/late/3.png": "in subfolders of train/good/",
                "train/bent/4.png": "in train/",
            },
        ),
        (
            Layout.MAGNETIC_TILE,
            ["MT_Free/Imgs/1.jpg"],
            {
                "MT_Free/Imgs/2.bmp": "in MT_*/Imgs/ that are neither JPEG nor the mask of one",
                "MT_Free/3.jpg": "in MT_Free/",
            },
        ),
        (Layout.UNLABELLED, ["1.png"], {"results/2.png": "in subfolders"}),
        (
            Layout.VSB,
            ["images/1.jpg", "labels.csv"],
            {
                "images/2.jpg": "in images/ that labels.csv does not name",
                "masks/1.png": "in masks/ that labels.csv does not name",
            },
        ),
    ],
)
def test_each_layout_says_why(tmp_path: Path, layout: Layout, used: list[str], unused: dict[str, str]) -> None:
    make_tree(tmp_path, *used, *unused, "Thumbs.db", ".DS_Store", "notes.txt", f"{Path(used[0]).with_suffix('.xmp')}")
    if layout == Layout.VSB:
        (tmp_path / "labels.csv").write_text(f"{_HEADER}\n1.jpg,,,\n")
    found = count_unused(layout, tmp_path)
    expected = {"sidecars, hidden and temporary files": 3, "tables, text and others that are no images": 1}
    assert found == {**dict.fromkeys(unused.values(), 1), **expected}


def test_links_and_hidden_folders_are_named_and_not_followed(tmp_path: Path) -> None:
    outside = make_tree(tmp_path / "outside", "1.png")
    folder = make_tree(tmp_path / "in", "1.png", ".git/a/b")
    (folder / "round").symlink_to(folder)
    (folder / "far").symlink_to(outside)
    rows = read_source(Layout.UNLABELLED, folder)
    unused = find_unused(Layout.UNLABELLED, folder, source_files(Layout.UNLABELLED, folder, rows))
    assert [(one.reason, one.names) for one in unused] == [
        ("linked folders, which are not followed", ("far/", "round/")),
        ("hidden folders", (".git/",)),
    ]


def test_names_of_any_bytes_are_shown_escaped(tmp_path: Path) -> None:
    make_tree(tmp_path, "1.png", "more/2.png")
    (tmp_path / os.fsdecode(b"more/Br\xfccke\n.png")).write_bytes(b"x")
    used = source_files(Layout.UNLABELLED, tmp_path, read_source(Layout.UNLABELLED, tmp_path))
    said = describe_unused(find_unused(Layout.UNLABELLED, tmp_path, used))
    assert said == r"2 files not used: 2 in subfolders (more/2.png, more/Br\xfccke\x0a.png)"
