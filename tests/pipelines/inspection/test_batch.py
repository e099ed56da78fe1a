"""A batch on its way to a table: what is done stays done, however the process ends."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import BusyError, CallError
from pipelines.core.results import Inspected
from pipelines.inspection.batch import Counts, Terms, open_batch
from pipelines.inspection.history import Observation, read_history
from pipelines.inspection.inputs import InputImage, find_images

TERMS = Terms(surface="oak", version=3, results={})


@pytest.fixture
def images(tmp_path: Path) -> list[InputImage]:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(bytes(number))
    return find_images([folder])


def run(
    folder: Path, images: list[InputImage], stop_after: int | None = None, terms: Terms = TERMS
) -> tuple[list[str], Counts | None]:
    """Inspect what is left, to the end or up to a stop; say which images were looked at."""
    looked: list[str] = []
    with open_batch(folder / "t.parquet", terms, images, folder / "history") as batch:
        for image in batch.left[:stop_after]:
            looked.append(image.name)
            error = "not an image" if image.name == "4.png" else None
            score = None if error else Path(image.file).stat().st_size / 2
            anomalous = None if score is None else score > 1
            fields: Any = {"score": score, "anomalous": anomalous, "error": error}
            batch.add(
                Inspected(path=image.file, **fields),
                Observation(time=datetime.now(UTC), path=image.file, version=terms.version, **fields),
            )
        return looked, None if stop_after is not None else batch.finish(folder / "history")


def table(folder: Path) -> Any:
    return pq.read_table(folder / "t.parquet").to_pylist()


def test_a_batch_becomes_a_table_and_a_history(tmp_path: Path, images: list[InputImage]) -> None:
    _, counts = run(tmp_path, images)
    assert counts == Counts(total=6, anomalous=2, unreadable=1)
    rows = table(tmp_path)
    assert [Path(row["path"]).name for row in rows] == [f"{n}.png" for n in range(6)]
    assert [row["score"] for row in rows] == [0, 0.5, 1, 1.5, None, 2.5]
    assert rows[4]["error"] == "not an image"
    assert {row["version"] for row in rows} == {3}
    assert list(read_history(tmp_path / "history")["path"]) == [row["path"] for row in rows]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["history", "in", "t.parquet"]


def test_a_stopped_batch_goes_on_where_it_was(tmp_path: Path, images: list[InputImage]) -> None:
    done, _ = run(tmp_path, images, stop_after=2)
    assert not (tmp_path / "t.parquet").exists()
    journal = tmp_path / "t.part.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"mark": "torn')
    more, _ = run(tmp_path, images, stop_after=1)
    rest, counts = run(tmp_path, images)
    assert done + more + rest == [f"{n}.png" for n in range(6)]
    assert counts == Counts(total=6, anomalous=2, unreadable=1, before=3)
    resumed = table(tmp_path)
    run(tmp_path, images)
    assert table(tmp_path) == resumed
    assert len(set(read_history(tmp_path / "history")["batch"])) == 2


def test_what_changed_or_vanished_since_is_not_taken_from_before(tmp_path: Path, images: list[InputImage]) -> None:
    run(tmp_path, images, stop_after=5)
    os.utime(images[1].file, ns=(0, 1))
    Path(images[2].file).unlink()
    again, counts = run(tmp_path, [p for p in images if p.name != "2.png"])
    assert again == ["1.png", "5.png"]
    assert counts is not None
    assert counts.before == 3
    assert sorted(Path(row["path"]).name for row in table(tmp_path)) == [f"{n}.png" for n in (0, 1, 3, 4, 5)]


def test_another_version_begins_anew_and_the_history_keeps_what_the_first_saw(
    tmp_path: Path, images: list[InputImage]
) -> None:
    run(tmp_path, images, stop_after=4)
    looked, counts = run(tmp_path, images, terms=TERMS.model_copy(update={"version": 4}))
    assert len(looked) == 6
    assert counts is not None
    assert counts.before == 0
    assert {row["version"] for row in table(tmp_path)} == {4}
    assert sorted(read_history(tmp_path / "history")["version"]) == [3] * 4 + [4] * 6


def test_what_would_mix_or_overwrite_is_refused(tmp_path: Path, images: list[InputImage]) -> None:
    run(tmp_path, images, stop_after=2)
    with pytest.raises(CallError, match=r"t\.part\.jsonl was begun for other results"):
        run(tmp_path, images, terms=TERMS.model_copy(update={"results": {"maps": "/maps"}}))
    with open_batch(tmp_path / "t.parquet", TERMS, images, tmp_path), pytest.raises(BusyError, match="another"):
        run(tmp_path, images)
    with pytest.raises(CallError, match="Parquet"), open_batch(tmp_path / "in/1.png", TERMS, images, tmp_path):
        pass
    (tmp_path / "t.part.jsonl").write_text("notes of mine\n")
    with pytest.raises(CallError, match="is no journal"):
        run(tmp_path, images)
