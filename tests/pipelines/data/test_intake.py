"""Taking a user's folder in: every file once, and the folder as it was before."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.core.errors import CallError, ImageError, SourceError
from pipelines.core.records import Layout
from pipelines.data.intake import Intake, compare_source, note_arrivals, take_in
from pipelines.data.layouts.table import read_table
from pipelines.data.review import read_review
from pipelines.imaging.decoding import Decoded, decode_image, decode_mask

FOLDER = Layout.FOLDER


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A data set with a name that needs quoting, a read-only file, and files that are no part of it."""
    folder = tmp_path / "elsewhere"
    contents = {"good/a.png": b"a", "good/b, 'b'.png": b"bb", "bad/dent/c.png": b"ccc", "masks/dent/c.png": b"mask"}
    for name, data in {**contents, "notes.txt": b"mine", "good/.hidden": b"x"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(1_700_000_000_123_456_789, 1_700_000_000_123_456_789))
    (folder / "good/a.png").chmod(0o444)
    return folder


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "project" / "source"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "project" / "ledger" / "arrivals.csv"


def describe(folder: Path) -> dict[str, tuple[bytes, int, int, int, int]]:
    """Take down what a copy may not change: bytes, time, mode, links and inode of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.stat()
        data = path.read_bytes() if path.is_file() else b""
        found[path.relative_to(folder).as_posix()] = (
            *(data, stat.st_mtime_ns, stat.st_mode, stat.st_nlink, stat.st_ino),
        )
    return found


def counts(taken: Intake) -> tuple[int, int, int, int]:
    return taken.images, taken.new, taken.changed, taken.removed


def batches(ledger: Path) -> dict[str, int]:
    frame = pd.read_csv(ledger)
    return dict(zip(frame["path"], frame["arrival"], strict=True))


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_data_set_is_copied_and_the_source_is_left_alone(source: Path, mirror: Path, ledger: Path) -> None:
    before = describe(source)
    assert counts(take_in(FOLDER, source, mirror, ledger)) == (3, 3, 0, 0)
    assert describe(source) == before
    assert files(mirror) == {"good/a.png", "good/b, 'b'.png", "bad/dent/c.png", "masks/dent/c.png"}
    for name in files(mirror):
        copy, original = mirror / name, source / name
        assert copy.read_bytes() == original.read_bytes()
        assert not copy.is_symlink()
        assert copy.stat().st_ino != original.stat().st_ino
        assert copy.stat().st_nlink == 1
        assert copy.stat().st_mode & 0o200, "a read-only copy could not be replaced"


def test_what_did_not_change_is_copied_once(source: Path, mirror: Path, ledger: Path) -> None:
    take_in(FOLDER, source, mirror, ledger)
    before, arrived = describe(mirror), ledger.read_bytes()
    assert counts(take_in(FOLDER, source, mirror, ledger)) == (3, 0, 0, 0)
    assert describe(mirror) == before
    assert ledger.read_bytes() == arrived


def test_a_changed_image_or_mask_is_taken_again(source: Path, mirror: Path, ledger: Path) -> None:
    take_in(FOLDER, source, mirror, ledger)
    (source / "bad/dent/c.png").write_bytes(b"CCC")
    (source / "masks/dent/c.png").write_bytes(b"another mask")
    assert counts(take_in(FOLDER, source, mirror, ledger)) == (3, 0, 1, 0)
    assert (mirror / "bad/dent/c.png").read_bytes() == b"CCC"
    assert (mirror / "masks/dent/c.png").read_bytes() == b"another mask"
    assert set(batches(ledger).values()) == {1}, "a changed image did not arrive again"


def test_each_batch_of_new_images_gets_the_next_number(source: Path, mirror: Path, ledger: Path) -> None:
    take_in(FOLDER, source, mirror, ledger)
    (source / "good/0 new.png").write_bytes(b"n")
    assert take_in(FOLDER, source, mirror, ledger).new == 1
    take_in(FOLDER, source, mirror, ledger)
    (source / "bad/z.png").write_bytes(b"z")
    take_in(FOLDER, source, mirror, ledger)
    first = dict.fromkeys(["good/a.png", "good/b, 'b'.png", "bad/dent/c.png"], 1)
    assert batches(ledger) == {**first, "good/0 new.png": 2, "bad/z.png": 3}
    assert note_arrivals(FOLDER, mirror, ledger) == 0


def test_what_vanished_is_kept_unless_pruned(source: Path, mirror: Path, ledger: Path) -> None:
    take_in(FOLDER, source, mirror, ledger)
    shutil.rmtree(source / "bad")
    shutil.rmtree(source / "masks")
    assert take_in(FOLDER, source, mirror, ledger).removed == 0
    assert "bad/dent/c.png" in files(mirror)
    assert counts(take_in(FOLDER, source, mirror, ledger, prune=True)) == (2, 0, 0, 2)
    assert files(mirror) == {"good/a.png", "good/b, 'b'.png"}


@pytest.mark.parametrize("place", ["inside", "around", "itself", "by a link"])
def test_the_own_copy_is_no_source(source: Path, mirror: Path, ledger: Path, place: str, tmp_path: Path) -> None:
    take_in(FOLDER, source, mirror, ledger)
    (tmp_path / "link").symlink_to(mirror, target_is_directory=True)
    named = {"inside": mirror / "good", "around": tmp_path, "itself": mirror, "by a link": tmp_path / "link"}
    before = describe(tmp_path)
    with pytest.raises(SourceError, match="the project's own copy"):
        take_in(FOLDER, named[place], mirror, ledger, prune=True)
    assert describe(tmp_path) == before


def test_a_folder_of_another_layout_copies_nothing(source: Path, mirror: Path, ledger: Path) -> None:
    with pytest.raises(SourceError, match="try --layout folder"):
        take_in(Layout.MVTEC, source, mirror, ledger)
    assert not mirror.exists()
    assert not ledger.exists()


def test_too_much_that_no_row_uses_is_refused_before_anything_is_copied(
    source: Path, mirror: Path, ledger: Path
) -> None:
    (source / "rejects").mkdir()
    for number in range(2):
        (source / f"rejects/{number}.png").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"(?s)33.3 % of the files are not used, allowed are 30 %.*max-unused-share"):
        take_in(FOLDER, source, mirror, ledger, max_unused_share=0.3)
    assert not mirror.exists()
    taken = take_in(FOLDER, source, mirror, ledger, max_unused_share=0.5)
    assert [(one.reason, one.count, one.expected) for one in taken.unused] == [
        ("in rejects/", 2, False),
        ("sidecars, hidden and temporary files", 1, True),
        ("tables, text and others that are no images", 1, True),
    ]


def test_a_file_that_changes_or_vanishes_meanwhile_is_left_and_the_others_are_taken_in(
    source: Path, mirror: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shutil.copyfileobj
    (source / "good/a.png").chmod(0o644)
    (source / "good/0.png").write_bytes(b"0")

    def copy_while_others_write(reader: object, writer: object, size: int) -> None:
        whole(reader, writer, size)  # type: ignore[arg-type]  # shutil's own signature is as wide
        with (source / "good/a.png").open("ab") as file:
            file.write(b" more")
        (source / "good/b, 'b'.png").unlink(missing_ok=True)

    def cannot_share(*_: object) -> None:
        raise OSError("this file system cannot share blocks")

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.data.intake.fcntl.ioctl", cannot_share)
        patch.setattr("pipelines.data.intake.shutil.copyfileobj", copy_while_others_write)
        (source / "bad/dent/c.png").rename(source / "bad/dent/0.png")
        (source / "masks/dent/c.png").rename(source / "masks/dent/0.png")
        taken = take_in(FOLDER, source, mirror, ledger)
    assert counts(taken) == (2, 2, 0, 0)
    assert files(mirror) == {"bad/dent/0.png", "masks/dent/0.png", "good/0.png"}
    assert "2 files were left for the next `data update`" in taken.warnings[0]
    assert "a.png changed while it was read" in taken.warnings[0]
    assert "good/b, 'b'.png: No such file or directory" in taken.warnings[0]
    assert counts(take_in(FOLDER, source, mirror, ledger)) == (3, 1, 0, 0)


def test_what_is_still_being_written_is_left_and_a_date_in_the_future_is_a_warning(
    source: Path, mirror: Path, ledger: Path
) -> None:
    os.utime(source / "good/b, 'b'.png", (4e9, 4e9))
    taken = take_in(FOLDER, source, mirror, ledger, leave={"masks/dent/c.png"})
    assert counts(taken) == (2, 2, 0, 0)
    assert files(mirror) == {"good/a.png", "good/b, 'b'.png"}
    assert taken.warnings == ("1 file is dated in the future, good/b, 'b'.png on 2096-10-02: check that clock",)
    assert compare_source(FOLDER, source, mirror, settle_seconds=1e9).moving == {"bad/dent/c.png", "masks/dent/c.png"}


def test_an_interrupted_copy_leaves_whole_files_only(
    source: Path, mirror: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in(FOLDER, source, mirror, ledger)
    old = {name: (mirror / name).read_bytes() for name in files(mirror)}
    for name in ("good/a new one.png", "good/a.png", "good/b, 'b'.png"):
        (source / name).unlink(missing_ok=True)
        (source / name).write_bytes(b"later and longer")
    new = {name: (source / name).read_bytes() for name in ("good/a new one.png", "good/a.png", "good/b, 'b'.png")}

    def cannot_share(*_: object) -> None:
        raise OSError("this file system cannot share blocks")

    def copy_half(reader: object, writer: object, size: int) -> None:
        if next(count) == 2:
            writer.write(b"later a")  # type: ignore[attr-defined]  # shutil's own signature is as wide
            raise KeyboardInterrupt
        copy_whole(reader, writer, size)  # type: ignore[arg-type]

    count, copy_whole = iter(range(1, 9)), shutil.copyfileobj
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.data.intake.fcntl.ioctl", cannot_share)
        patch.setattr("pipelines.data.intake.shutil.copyfileobj", copy_half)
        with pytest.raises(KeyboardInterrupt):
            take_in(FOLDER, source, mirror, ledger)
    assert files(mirror) == {*old, "good/a new one.png"}
    for name in files(mirror):
        assert (mirror / name).read_bytes() in (old.get(name), new.get(name))
    assert (mirror / "good/a.png").read_bytes() == old["good/a.png"]
    assert take_in(FOLDER, source, mirror, ledger).changed == 2
    assert {name: (mirror / name).read_bytes() for name in new} == new
    assert batches(ledger)["good/a new one.png"] == 2, "an image whose copy was interrupted later has no batch"


def test_files_of_sixty_gigabytes_of_holes_and_pipes_are_neither_read_nor_copied(
    source: Path, mirror: Path, ledger: Path, tmp_path: Path
) -> None:
    huge, pipe = tmp_path / "huge.png", tmp_path / "pipe.png"
    with huge.open("wb") as file:
        file.truncate(60 * 10**9)
    os.mkfifo(pipe)
    with pytest.raises(ImageError, match="it has 60,000 MB, at most 72 are read"):
        decode_image(huge, 1.0)
    with pytest.raises(ImageError, match="no regular file"):
        decode_image(pipe, 1.0)
    pixels = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ImageError, match="it has 60,000 MB"):
        decode_mask(huge, Decoded(pixels, "RGB", 8, 1, (8, 8)))
    Image.fromarray(pixels[..., 0]).save(tmp_path / "mask.png")
    assert not decode_mask(tmp_path / "mask.png", Decoded(pixels, "RGB", 8, 1, (8, 8))).any()
    with pytest.raises(SourceError, match="60,000 MB"):
        read_table(huge, ["image"])
    for file in (huge, pipe):
        with pytest.raises(CallError, match=r"60,000 MB|no regular file"):
            read_review(file)
    huge.replace(source / "good/a.png")
    taken = take_in(FOLDER, source, mirror, ledger)
    assert "it has 60.0 GB, more than any image" in taken.warnings[0]
    assert files(mirror) == {"good/b, 'b'.png", "bad/dent/c.png", "masks/dent/c.png"}
