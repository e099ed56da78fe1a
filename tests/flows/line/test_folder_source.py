"""A folder that a camera writes into: taken once, whole, in order."""

import os
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

from flows.line.folder_source import DONE, FolderSource
from flows.line.journal import Journal
from tests.flows.line.receivers import verdict


def take(source: FolderSource, number: int) -> list[str]:
    """Take so many images, and finish each."""
    names, deadline = list[str](), time.monotonic() + 30
    for arrival in source.images(Event()):
        if arrival is not None:
            names.append(f"{arrival.name}:{arrival.read().decode()}")
            source.finish(arrival)
        if len(names) >= number or time.monotonic() > deadline:
            break
    return names


def test_images_come_in_the_order_of_their_time_and_go_to_done(tmp_path: Path) -> None:
    for number, name in enumerate(("b.png", "a.png", "c.png", ".hidden.png", "note.txt", "x.xmp")):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (number, number))
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    assert take(FolderSource(tmp_path, 0.05, move=True), 3) == ["b.png:b.png", "a.png:a.png", "c.png:c.png"]
    assert sorted(p.name for p in (tmp_path / DONE).iterdir()) == ["a.png", "b.png", "c.png"]
    (tmp_path / "a.png").write_text("again")
    assert take(FolderSource(tmp_path, 0.05, move=True), 1) == ["a.png:again"]
    assert len(list((tmp_path / DONE).iterdir())) == 4, "a camera that counts anew overwrites nothing"


def test_what_is_written_slowly_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    def write() -> None:
        with (tmp_path / "slow.png").open("w") as file:
            for _ in range(8):
                file.write("x")
                file.flush()
                time.sleep(0.1)
        (tmp_path / ".part").write_text("y")
        (tmp_path / ".part").rename(tmp_path / "renamed.png")

    writer = Thread(target=write)
    writer.start()
    assert sorted(take(FolderSource(tmp_path, 0.6, move=True), 2)) == ["renamed.png:y", "slow.png:xxxxxxxx"]
    writer.join()


def test_what_is_left_where_it_is_is_taken_once(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, 0.0, move=False)
    (tmp_path / "a.png").write_text("a")
    assert take(source, 1) == ["a.png:a"]
    (tmp_path / "b.png").write_text("b")
    assert take(source, 1) == ["b.png:b"]
    (tmp_path / "a.png").write_text("another")
    assert take(source, 1) == ["a.png:another"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_folder_that_is_away_is_named_and_looked_at_again(tmp_path: Path) -> None:
    folder, stop = tmp_path / "share", Event()
    folder.mkdir()
    source = FolderSource(folder, 0.0, move=True)
    images = source.images(stop)
    folder.rmdir()
    assert next(images) is None
    assert source.problem.endswith("cannot be looked at (No such file or directory)")
    folder.mkdir()
    (folder / "a.png").write_text("a")
    assert next(arrival for arrival in images if arrival).name == "a.png"
    assert source.problem == ""


def test_no_name_of_an_image_ends_the_line(tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    folder.mkdir()
    names = [os.fsencode("n" * 251 + ".png"), b"\xff\n.png"]
    with closing(Journal(tmp_path / "journal.db")) as journal:
        for _ in range(2):  # the second of a name gets another one in `done`, which must not be too long
            for name in names:
                Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("x")
                time.sleep(0.01)
            taken = 0
            for arrival in (source := FolderSource(folder, 0.02, move=True)).images(Event()):
                if arrival is not None:
                    assert not journal.knows(arrival.key)
                    journal.add(arrival.key, verdict)
                    source.finish(arrival)
                    taken += 1
                if taken == len(names):
                    break
    assert len(list((folder / DONE).iterdir())) == 2 * len(names)
