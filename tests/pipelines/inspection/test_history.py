"""The inspection history: batches written whole, read back apart by time and version."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from pipelines.core.errors import ToolError
from pipelines.inspection.history import Observation, join_days, list_batches, read_history, write_batch

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def observe(minute: int, version: int = 1, **fields: object) -> Observation:
    seen = {"score": minute / 10, "anomalous": minute > 3, "sharpness": 40.5}
    return Observation.model_validate(
        {"time": NOON + timedelta(minutes=minute), "path": f"/in/{minute}.jpg", "version": version, **seen, **fields}
    )


def test_a_history_comes_back_in_order_with_what_was_seen(tmp_path: Path) -> None:
    late = write_batch(tmp_path, [observe(5), observe(6, score=None, anomalous=None, error="file is truncated")])
    early = write_batch(tmp_path, (observe(minute) for minute in (1, 2)))
    assert early is not None
    assert late is not None
    assert early.name < late.name
    found = read_history(tmp_path)
    assert list(found["path"]) == ["/in/1.jpg", "/in/2.jpg", "/in/5.jpg", "/in/6.jpg"]
    assert list(found["batch"]) == [early.stem] * 2 + [late.stem] * 2
    assert found["time"].iloc[0] == NOON + timedelta(minutes=1)
    assert found["score"].iloc[:3].tolist() == [0.1, 0.2, 0.5]
    assert found["anomalous"].iloc[:3].tolist() == [False, False, True]
    assert found[["score", "anomalous", "brightness_mean"]].iloc[3].isna().all()
    assert found["error"].iloc[3] == "file is truncated"


def test_history_is_cut_by_time_and_version(tmp_path: Path) -> None:
    write_batch(tmp_path, [observe(1), observe(2, version=2), observe(3, version=2)])
    write_batch(tmp_path, [observe(4, version=1)])
    assert list(read_history(tmp_path, since=NOON + timedelta(minutes=3))["path"]) == ["/in/3.jpg", "/in/4.jpg"]
    assert list(read_history(tmp_path, version=2)["path"]) == ["/in/2.jpg", "/in/3.jpg"]
    assert len(read_history(tmp_path, since=NOON + timedelta(minutes=3), version=1)) == 1


def test_an_empty_batch_leaves_no_file_and_an_empty_history_has_its_columns(tmp_path: Path) -> None:
    assert write_batch(tmp_path / "history", []) is None
    found = read_history(tmp_path / "history")
    assert len(found) == 0
    assert {"time", "path", "version", "score", "anomalous", "error", "sharpness", "batch"} <= set(found.columns)


def test_a_batch_of_the_same_name_replaces_itself_and_a_failing_one_leaves_nothing(tmp_path: Path) -> None:
    for count in (3, 2):
        write_batch(tmp_path, [observe(minute) for minute in range(count)], "one")
    assert len(read_history(tmp_path)) == 2

    def break_off() -> Observation:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_batch(tmp_path, (observe(n) if n < 15_000 else break_off() for n in range(20_000)), "two")
    assert [p.name for p in tmp_path.iterdir()] == ["one.parquet"]


def test_a_file_that_is_no_batch_is_named(tmp_path: Path) -> None:
    (tmp_path / "20260101.parquet").write_bytes(b"PAR1")
    with pytest.raises(ToolError, match=r"20260101\.parquet is no batch"):
        read_history(tmp_path)


def write_finished(folder: Path, minute: int, finished_ns: int) -> Path:
    path = write_batch(folder, [observe(minute), observe(minute + 1, version=2)])
    assert path is not None
    os.utime(path, ns=(finished_ns, finished_ns))
    return path


def without_names(folder: Path) -> pd.DataFrame:
    return read_history(folder).drop(columns="batch").sort_values("path", ignore_index=True)


def test_days_are_joined_on_each_side_of_what_was_looked_at(tmp_path: Path) -> None:
    early = [write_finished(tmp_path, 10 * n, n) for n in (1, 2)]
    late = [write_finished(tmp_path, 10 * n, n) for n in (3, 4)]
    before = without_names(tmp_path)
    assert join_days(tmp_path, NOON.date(), (2, 0)) == 0, "the day is not over"
    assert join_days(tmp_path, NOON.date() + timedelta(days=1), (2, 0)) == 4
    assert [time for _, time in list_batches(tmp_path)] == [2, 4]
    assert not any(path.exists() for path in (*early, *late))
    assert without_names(tmp_path).equals(before)
    write_finished(tmp_path, 50, 4)
    assert join_days(tmp_path, date.max, (2, 0)) == 2
    assert list(without_names(tmp_path)["path"]) == [f"/in/{n}{k}.jpg" for n in range(1, 6) for k in range(2)]


def test_a_batch_that_is_written_again_after_it_was_joined_leaves_its_day_whole(tmp_path: Path) -> None:
    for minute in (1, 5):
        write_batch(tmp_path, [observe(minute)], f"20260301T12000{minute}")
    assert join_days(tmp_path, date.max, ()) == 2
    write_batch(tmp_path, [observe(1)], "20260301T120001")
    assert join_days(tmp_path, date.max, ()) == 1
    assert list(without_names(tmp_path)["path"]) == ["/in/1.jpg", "/in/5.jpg"]


def _kill(_path: Path, **_arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_joining_that_was_killed_is_ended_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (1, 2, 3):
        write_finished(tmp_path, 10 * n, n)
    before = without_names(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _kill)
        with pytest.raises(KeyboardInterrupt):
            join_days(tmp_path, date.max, (1,))
    assert len(list_batches(tmp_path)) == 4
    # Whatever has been looked at since: what lies twice goes.
    assert join_days(tmp_path, date.max, (2,)) == 2
    assert without_names(tmp_path).equals(before)


def test_a_damaged_file_is_named_and_keeps_no_other_day_from_being_joined(tmp_path: Path) -> None:
    for name in ("20260301T1", "20260301T2", "20260301T3", "20260302T1", "20260302T2"):
        write_batch(tmp_path, [observe(n) for n in range(50)], name)
    broken = tmp_path / "20260301T2.parquet"
    data = bytearray(broken.read_bytes())
    data[10:400] = bytes(390)
    broken.write_bytes(data)
    with pytest.raises(ToolError, match=r"20260301T2\.parquet is no batch"):
        join_days(tmp_path, date.max, ())
    assert [path.name[:10] for path, _ in list_batches(tmp_path) if path.name[:8] == "20260302"] == ["20260302-j"]
    assert (tmp_path / "20260301T1.parquet").exists()
