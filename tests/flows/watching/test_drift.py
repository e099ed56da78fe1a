"""Which batches a check counts, and when drift is told: on a history written by hand, without a model."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.watch import _forget_problem, _tell_once, _tidy
from flows.watching.drift import check_drift
from flows.watching.state import WatchState, read_state
from pipelines.core.errors import ToolError
from pipelines.core.paths import Project
from pipelines.detector.version import CALIBRATION, DriftReference
from pipelines.imaging.measures import MEASURES
from pipelines.inspection.drift import DriftKind
from pipelines.inspection.history import Observation, write_batch
from pipelines.tracking.registry import ModelVersion
from tests.flows.sessions import looking_at

MORNING = datetime(2026, 3, 2, 6, tzinfo=UTC)


class Line:
    """A production line: it inspects batches, and checks are made at it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = Project(root)
        self.paths = self.project.surface("oak")
        self.rng = np.random.default_rng(0)
        self.state = WatchState()
        self.told: list[str] = []
        self.batches = 0
        seen = {name: tuple(self.rng.normal(100, 10, 99)) for name in MEASURES}
        calibration = DriftReference(scores=tuple(self.rng.normal(0.8, 0.1, 99)), measures=seen)
        (root / CALIBRATION).write_text(calibration.model_dump_json())
        monkeypatch.setattr("flows.watching.drift._tell", self._tell)

    def _tell(self, _project: Any, found: Any, *_: Any) -> list[Path]:
        self.told.append(found.kind)
        return []

    def folder(self, *_: object) -> Path:
        """Stand in for the registry: all versions were calibrated on the same boards."""
        return self.project.root

    def inspect(
        self, count: int, *, gain: float = 1.0, version: int = 1, path: str = "/line/{}.jpg", flagged: float = 0.0
    ) -> None:
        time = MORNING + timedelta(hours=self.batches)
        self.batches += 1
        rows = [
            Observation(
                time=time,
                path=path.format(number),
                version=version,
                score=float(self.rng.normal(0.8, 0.1)),
                anomalous=number < flagged * count,
                **{name: float(self.rng.normal(100, 10)) * gain for name in MEASURES},
            )
            for number in range(count)
        ]
        written = write_batch(self.paths.history, rows)
        assert written is not None

    def check(self, version: int = 1) -> Sequence[DriftKind | None]:
        champion = ModelVersion(surface="oak", version=version, run_id="", algorithm="padim", tags={}, aliases=())
        self.state, checks, _ = check_drift(looking_at(self.project, "oak", self), champion, self.state)
        return [found.kind for found in checks]


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(tmp_path, monkeypatch)


def test_each_batch_is_looked_at_once(line: Line) -> None:
    line.inspect(30)
    line.inspect(30)
    assert line.check() == [None, None]
    assert line.check() == []
    assert line.state.checks == 2
    assert read_state(line.project, "oak") == line.state, "a check that is killed later would see them again"


def test_a_clock_that_is_set_back_hides_no_batch(line: Line) -> None:
    line.inspect(30)
    (first,) = line.paths.history.iterdir()
    tomorrow = first.stat().st_mtime_ns + 24 * 3600 * 10**9
    os.utime(first, ns=(tomorrow, tomorrow))
    assert line.check() == [None]
    for _ in range(2):
        line.inspect(30, gain=0.6)
    assert line.check() == [DriftKind.LIGHTING] * 2
    assert line.check() == []


def test_small_batches_wait_until_there_are_enough(line: Line) -> None:
    for _ in range(2):
        line.inspect(8)
        assert line.check() == []
    line.inspect(8)
    assert line.check() == [None]
    assert line.state.checks == 1


def test_drift_is_told_once_until_it_ends(line: Line) -> None:
    for gain in (0.6, 0.6, 1.0, 0.6):
        line.inspect(20, gain=gain)
        line.check()
        if gain == 1.0:
            assert (line.state.drift, line.state.noticed) == (None, DriftKind.LIGHTING)
    assert line.told == [DriftKind.LIGHTING, DriftKind.LIGHTING]


def test_only_what_the_champion_saw_counts(line: Line) -> None:
    line.inspect(40, gain=0.5, version=7)
    line.inspect(40, gain=0.5, path=f"{line.paths.review}/x/{{}}.jpg")
    assert line.check() == []
    assert line.check() == []


def test_a_new_champion_begins_anew(line: Line) -> None:
    line.inspect(20, gain=0.6)
    assert line.check() == [DriftKind.LIGHTING]
    line.inspect(20, gain=0.6, version=2)
    assert line.check(version=2) == [DriftKind.LIGHTING]
    assert (line.state.version, line.state.checks) == (2, 1)
    assert len(line.told) == 2


def test_a_version_without_a_reference_is_not_looked_at(line: Line) -> None:
    (line.project.root / CALIBRATION).unlink()
    line.inspect(30, gain=0.5)
    assert line.check() == []


def test_a_wave_of_defects_that_no_small_batch_shows_is_seen_over_several(line: Line) -> None:
    kinds: list[DriftKind | None] = []
    for flagged in (0.05, 0.05, *[0.3] * 6, 0.05, 0.05):
        line.inspect(20, flagged=flagged)
        kinds += line.check()
    first = kinds.index(DriftKind.CONTENT)
    assert 3 <= first <= 7
    assert kinds[-2:] == [None, None], "what was told is told again of batches that are normal"
    assert line.told == [DriftKind.CONTENT]


def test_joined_days_are_not_looked_at_again_and_a_damaged_file_is_left(line: Line) -> None:
    for _ in range(3):
        line.inspect(30)
    line.check()
    for file in line.paths.history.iterdir():
        file.rename(file.with_name(f"20200101{file.name[8:]}"))
    assert _tidy(line.project, "oak", line.state) == []
    assert len(list(line.paths.history.iterdir())) == 1
    assert line.check() == []
    for number in range(2):
        (line.paths.history / f"20200102T{number}.parquet").write_bytes(b"PAR1")
    assert "20200102T0.parquet is no batch" in _tidy(line.project, "oak", line.state)[0]


def test_a_damaged_batch_is_told_once_not_each_minute(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("flows.watch.notify", lambda _project, _surface, _subject, body: told.append(body))
    for _ in range(2):
        _tell_once(line.project, "oak", ToolError("x.parquet is no batch", hint="move it away"))
    assert len(told) == 1
    _forget_problem(line.project, "oak")
    _tell_once(line.project, "oak", ToolError("x.parquet is no batch", hint="move it away"))
    assert len(told) == 2
