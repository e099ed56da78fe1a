"""When a check takes in what is new at the source, and when it leaves it alone; nothing is copied here."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.runtime.session import Session
from flows.watching.data import take_in_news
from flows.watching.results import SourceCheck
from flows.watching.state import WatchState
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import PolicySettings, SourceSettings, SurfaceSettings, WatchSettings

SURFACE = "boards"


class Camera:
    """A folder of images that a surface remembers, and what people are told of it."""

    def __init__(self, root: Path) -> None:
        self.project = Project(root / "project")
        self.folder = root / "camera"
        self.told: list[str] = []
        self.updates = 0
        self.left: frozenset[str] = frozenset()
        for number in range(3):
            file = self.folder / "good" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file)

    def check(
        self, state: WatchState, *, at_once: bool = True, settle: float = 0
    ) -> tuple[WatchState, SourceCheck | None]:
        source = SourceSettings(layout=Layout.FOLDER, path=str(self.folder))
        own = SurfaceSettings(source=source, policy=PolicySettings(watch=WatchSettings(settle_seconds=settle)))
        return take_in_news(Session(self.project, SURFACE, own), state, at_once=at_once)

    def update(self, _project: Project, _surface: str, left: frozenset[str]) -> SourceCheck:
        self.updates += 1
        self.left = left
        return SourceCheck(new=3)


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Camera:
    made = Camera(tmp_path)
    monkeypatch.setattr("flows.watching.data._update", made.update)
    monkeypatch.setattr(
        "flows.watching.data.notify", lambda _project, _surface, subject, _body: made.told.append(subject)
    )
    return made


def test_what_is_new_is_taken_in_once(camera: Camera) -> None:
    state, found = camera.check(WatchState())
    assert found == SourceCheck(new=3)
    # Nothing was really copied, as after a checkout of an older data version: what was dealt with is left alone.
    assert camera.check(state)[1] == SourceCheck()
    assert camera.updates == 1
    os.utime(camera.folder / "good" / "0.png", (1, 1))
    assert camera.check(state)[1] == SourceCheck(new=3)


def test_the_source_is_looked_at_by_the_interval(camera: Camera) -> None:
    before = WatchState(source_checked=time.time())
    assert camera.check(before, at_once=False) == (before, None)
    assert camera.check(WatchState(source_checked=time.time() - 16 * 60), at_once=False)[1] == SourceCheck(new=3)


def test_a_file_that_may_be_half_copied_waits(camera: Camera) -> None:
    state, found = camera.check(WatchState(), settle=3600)
    assert found == SourceCheck(waiting=3)
    assert state == WatchState(), "it would be checked again only after the interval"


def test_one_file_that_is_written_now_or_dated_in_the_future_holds_up_no_other(camera: Camera) -> None:
    files = sorted((camera.folder / "good").iterdir())
    for file in files[:2]:
        os.utime(file, (1e9, 1e9))
    os.utime(files[2], (4e9, 4e9))
    # Its date says nothing; that it was written to a moment ago does, by the clock of its own disk.
    state, found = camera.check(WatchState(), settle=3600)
    assert found == SourceCheck(new=3, waiting=1)
    assert state == WatchState(), "what waits would be checked again only after the interval"
    assert camera.left == {"good/2.png"}
    assert camera.check(state, settle=0)[1] == SourceCheck(new=3)


def test_a_clock_that_was_set_back_is_no_reason_to_wait(camera: Camera) -> None:
    ahead = WatchState(source_checked=time.time() + 1e7)
    assert camera.check(ahead, at_once=False)[1] == SourceCheck(new=3)


def test_a_lost_source_is_told_once(camera: Camera) -> None:
    camera.folder.rename(camera.folder.with_name("away"))
    state = WatchState()
    for _ in range(2):
        state, found = camera.check(state)
        assert found is not None
        assert "is not there" in str(found.problem)
    assert camera.told == ["its source cannot be read"]
    camera.folder.with_name("away").rename(camera.folder)
    assert camera.check(state)[1] == SourceCheck(new=3)
