"""Which files an inspection looks at, and under which names."""

from pathlib import Path

import pytest

from pipelines.core.errors import CallError
from pipelines.inspection.inputs import find_images


def draw(path: Path) -> Path:
    """Lay a file there: it is taken for an image by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_images_are_found_below_folders_with_their_names(tmp_path: Path) -> None:
    for name in ("b/2/x.PNG", "b/1.jpg", "a.tif"):
        draw(tmp_path / "in" / name)
    (tmp_path / "in/notes.txt").touch()
    alone = draw(tmp_path / "elsewhere/alone.png")
    found = find_images([tmp_path / "in", alone])
    assert [p.name for p in found] == ["a.tif", "b/1.jpg", "b/2/x.PNG", "alone.png"]
    assert [Path(p.file).is_file() for p in found] == [True] * 4


def test_one_name_in_two_places_is_no_clash_but_one_result_is(tmp_path: Path) -> None:
    for name in ("a/x.png", "b/x.png"):
        draw(tmp_path / name)
    assert len(find_images([tmp_path])) == 2
    with pytest.raises(CallError, match=r"the results 'x\.png'"):
        find_images([tmp_path / "a", tmp_path / "b"])
    draw(tmp_path / "a/x.jpg")
    assert [p.stem for p in find_images([tmp_path])] == ["a/x.jpg", "a/x.png", "b/x"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "x.png")
    with pytest.raises(CallError, match="nowhere"):
        find_images([tmp_path / "x.png", tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CallError, match=r"no image in .*empty"):
        find_images([tmp_path / "empty"])


def test_what_an_inspection_made_is_passed_over(tmp_path: Path) -> None:
    for name in ("b.png", "marked/b.jpg", "marked/deep/c.jpg", "unmarked/d.png", "today.part.jsonl", "today.parquet"):
        draw(tmp_path / name)
    (tmp_path / "linked").symlink_to(tmp_path / "marked")
    found = find_images([tmp_path], [tmp_path / "unmarked/../marked", tmp_path / "maps"])
    assert [p.name for p in found] == ["b.png", "unmarked/d.png"]
    asked_for = find_images([tmp_path / "marked"], [tmp_path / "marked"])
    assert [p.name for p in asked_for] == ["b.jpg", "deep/c.jpg"], "the folder itself was named"
