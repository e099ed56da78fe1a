"""One session a command: what it opens once and shares, and how often a retrain with nothing changed asks."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import filelock
import mlflow
import pytest

from flows.commands.train import call_retrain
from flows.runtime.locks import surface_lock
from flows.runtime.session import hold, keep_open, look_at, open_session
from flows.steps.opening import answer_requests, end_leftovers
from pipelines.core.errors import BusyError, SettingsError
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import PolicySettings, SourceSettings, SurfaceSettings, write_surface
from tests.flows.projects import SURFACE, copy_project

PROMISED = PolicySettings(false_positive_rate=0.2)


def add(project: Project, name: str, **settings: Any) -> None:
    write_surface(project, name, SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER), **settings))


@pytest.fixture
def oak(project: Project) -> Project:
    """A project of two surfaces that have settings and nothing else."""
    add(project, "oak")
    add(project, "ash")
    return project


def is_free(project: Project, surface: str) -> bool:
    """Tell whether somebody else could take a surface: another thread is refused as another process is."""

    def take() -> None:
        with surface_lock(project, surface, "promote"):
            pass

    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(take).exception()
    assert error is None or isinstance(error, BusyError)
    return error is None


def test_who_opens_an_open_surface_again_gets_what_is_open(oak: Project) -> None:
    with open_session("oak", "retrain") as outer:
        with open_session("oak", "adapt", wait=5) as inner, hold(inner, "promote") as held:
            assert inner is outer
            assert held is outer
        assert look_at("oak") is outer
        assert not is_free(oak, "oak"), "the inner block's end freed the outer one's lock"
        with open_session("ash", "retrain") as other:
            assert (other.surface, other.paths.name) == ("ash", "ash")
            assert look_at("oak") is outer
        assert is_free(oak, "ash")
    assert look_at("oak") is not outer
    assert is_free(oak, "oak")


def test_a_failure_frees_the_surface_and_ends_the_session(oak: Project) -> None:
    session = look_at("oak")
    with pytest.raises(ValueError, match="inside"), hold(session, "retrain"):
        raise ValueError("inside")
    assert is_free(oak, "oak")
    assert look_at("oak") is not session


def test_who_only_looks_locks_nothing_and_holds_the_same_session_later(oak: Project) -> None:
    with keep_open(look_at("oak")) as looking:
        assert is_free(oak, "oak")
        with open_session("oak", "retrain") as held:
            assert held is looking
            assert not is_free(oak, "oak")
        assert is_free(oak, "oak")


def test_what_changes_on_disk_during_a_session_counts_from_the_next(oak: Project) -> None:
    with open_session("oak", "retrain") as session:
        seed = session.run_settings("quick", []).seed
        add(oak, "oak", policy=PROMISED)
        oak.params.write_text(oak.params.read_text().replace(f"\nseed: {seed}", "\nseed: 77"))
        assert look_at("oak").settings.policy.false_positive_rate != 0.2
        assert session.run_settings("full", []).seed == seed
    later = look_at("oak")
    assert (later.settings.policy, later.run_settings("full", []).seed) == (PROMISED, 77)


def test_who_waited_for_a_surface_takes_the_settings_as_they_are_then(
    oak: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock_after_a_change(*words: Any, **options: Any) -> Any:
        add(oak, "oak", policy=PROMISED)
        return surface_lock(*words, **options)

    monkeypatch.setattr("flows.runtime.session.surface_lock", lock_after_a_change)
    with open_session("oak", "retrain", wait=5) as session:
        assert session.settings.policy == PROMISED
        assert look_at("oak") is session


def test_a_surface_that_is_not_there_is_not_locked(oak: Project) -> None:
    with pytest.raises(SettingsError, match="no surface 'elm'"), open_session("elm", "retrain", wait=5):
        pass
    assert not list((oak.state).glob("locks/elm*"))


def test_what_was_left_over_is_dealt_with_once_a_session(oak: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command does it before it knows whether a flow is needed, and the flow is not to do it again."""
    done: Counter[str] = Counter()
    monkeypatch.setattr("flows.steps.opening.clear_up", lambda session: done.update([f"cleared {session.surface}"]))
    monkeypatch.setattr("flows.steps.opening.settle_requests", lambda _: done.update(["settled"]))
    for _ in range(2):
        with open_session("oak", "retrain") as outer, open_session("oak", "retrain") as inner:
            for session in (outer, inner):
                end_leftovers(session)
                answer_requests(session)
    assert done == {"cleared oak": 2, "settled": 2}


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is read, locked and asked of MLflow from now on in this process, and how often."""
    found: Counter[str] = Counter()

    def count(owner: type, method: str, label: Callable[[Any], str]) -> None:
        original = getattr(owner, method)

        def counting(self: Any, *words: Any, **options: Any) -> Any:
            found[label(self)] += 1
            return original(self, *words, **options)

        monkeypatch.setattr(owner, method, counting)

    for method in ("read_text", "read_bytes"):
        count(Path, method, lambda path: path.name)
    count(filelock.FileLock, "acquire", lambda lock: Path(lock.lock_file).name)
    client = mlflow.MlflowClient
    for name in (n for n in dir(client) if not n.startswith("_") and callable(getattr(client, n))):
        count(client, name, lambda _, name=name: f"mlflow {name}")  # type: ignore[misc] - mypy takes it for an argument
    return found


def test_a_retrain_with_nothing_changed_opens_and_asks_once(
    trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requested: Counter[str]
) -> None:
    project = copy_project(trained_once, tmp_path / "project")
    monkeypatch.chdir(project.root)
    # It would keep this process's log for the terminal, also in the tests that come after.
    monkeypatch.setattr("flows.commands.train.log_to_terminal", lambda: None)
    requested.clear()
    assert call_retrain(SURFACE, "quick", [], None, False).skipped
    known = {name: number for name, number in requested.items() if name.startswith("mlflow ")}
    assert {name: requested[name] for name in (f"{SURFACE}.yaml", "params.yaml", f"{SURFACE}.lock")} == {
        f"{SURFACE}.yaml": 2,  # by the session, and to give its keys their present names before DVC reads it
        "params.yaml": 1,
        f"{SURFACE}.lock": 1,
    }
    assert known == {
        "mlflow search_experiments": 1,
        "mlflow get_experiment_by_name": 1,
        "mlflow search_runs": 1,
        "mlflow search_model_versions": 1,
        "mlflow get_registered_model": 1,
        "mlflow get_run": 1,
    }
