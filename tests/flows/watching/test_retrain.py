"""When a check retrains: reasons, what was tried, and what was killed in between."""

from pathlib import Path
from typing import Any

import pytest

from flows.watching.retrain import retrain_once
from flows.watching.state import WatchState, read_state
from pipelines.core.errors import BusyError, ModelError
from pipelines.core.paths import Project
from pipelines.inspection.drift import DriftKind
from pipelines.tracking.registry import ModelVersion
from tests.flows.sessions import looking_at

FOUND = {"data_version": "new", "champion": {"version": 2}, "skipped": False}


class Surface:
    """A surface whose data version is `new`, a registry that knows `trained`, and a retrain that does as it is told."""

    def __init__(self, root: Path) -> None:
        self.project = Project(root)
        self.trained: list[str] = ["old"]
        self.runs = 0
        self.fate: BaseException | None = None

    def versions(self, surface: str) -> list[ModelVersion]:
        facts = {"surface": surface, "run_id": "", "algorithm": "padim", "aliases": ()}
        return [ModelVersion(version=n, tags={"data_version": v}, **facts) for n, v in enumerate(self.trained, 1)]

    def retrain(self, *_: object, **__: object) -> dict[str, Any]:
        self.runs += 1
        if self.fate:
            raise self.fate
        return FOUND

    def check(self, **settings: object) -> tuple[Any, list[str]]:
        state = read_state(self.project, "oak")
        return retrain_once(looking_at(self.project, "oak", self, **settings), state, self.retrain)

    def remember(self, **facts: object) -> None:
        path = self.project.surface("oak").watch
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(WatchState.model_validate(facts).model_dump_json())


@pytest.fixture
def surface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surface:
    made = Surface(tmp_path)
    monkeypatch.setattr("flows.watching.retrain.data_version", lambda *_: "new")
    return made


def test_new_data_is_trained_on_once(surface: Surface) -> None:
    retrained, _ = surface.check()
    assert (retrained.reason, retrained.champion, retrained.problem) == ("new data", 2, None)
    assert surface.check() == (None, [])
    assert surface.runs == 1


def test_data_that_a_version_was_trained_on_is_not_new(surface: Surface) -> None:
    surface.trained.append("new")
    assert surface.check() == (None, [])
    assert surface.runs == 0


def test_drift_retrains_only_where_the_policy_says_so_and_there_is_new_data(surface: Surface) -> None:
    surface.remember(noticed=DriftKind.CONTENT)
    _, notes = surface.check(retrain_on_new_data=False)
    assert "leaves retraining to you" in notes[0]
    surface.trained.append("new")
    _, notes = surface.check(retrain_on_new_data=False, retrain_on_drift=True)
    assert "nothing to retrain on" in notes[0]
    assert surface.runs == 0
    surface.trained.pop()
    retrained, _ = surface.check(retrain_on_drift=True)
    assert retrained.reason == "new data and content drift"


def test_a_failure_is_not_tried_again_and_a_busy_surface_is(surface: Surface) -> None:
    surface.fate = BusyError("`promote oak` holds this", hint="wait")
    assert "a retrain waits" in surface.check()[1][0]
    surface.fate = ModelError("no memory", hint="buy some")
    assert "no memory" in surface.check()[0].problem
    assert surface.check() == (None, [])
    assert surface.runs == 2


@pytest.mark.usefixtures("pressed")
def test_ctrl_c_that_became_another_error_ends_the_look_and_is_no_failure(surface: Surface) -> None:
    surface.fate = ValueError("Task run is not set")
    with pytest.raises(KeyboardInterrupt):
        surface.check()
    assert read_state(surface.project, "oak").tried != "new"


def test_what_was_killed_begins_again_though_not_for_ever(surface: Surface) -> None:
    surface.fate = KeyboardInterrupt()
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            surface.check()
        surface.trained = ["old", "new"]  # one of its algorithms was registered
    assert surface.check() == (None, [])
    assert surface.runs == 3
