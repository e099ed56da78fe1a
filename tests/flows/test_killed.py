"""A retrain killed with SIGKILL at its stages, and run again: the same end, and a champion at every moment."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from flows.runtime.leftovers import find_lost_servers
from pipelines.core.paths import Project
from tests.conftest import run_knotwatch, set_training, start_knotwatch
from tests.flows.projects import copy_project
from tests.forked import Forked

pytestmark = pytest.mark.slow

# Runs the real command, and stops where a function is called (with a word among its arguments, where one is given).
DRIVER = """
import os, signal, sys, time
from importlib import import_module
from flows.runtime.environment import prepare_environment
from pipelines.core.paths import find_project

place, word, end, *words = sys.argv[1:]
prepare_environment(find_project())
module, name = place.split(":")
original = getattr(import_module(module), name)

def stopping(*args, **options):
    if word and word not in args:
        return original(*args, **options)
    if end == "hang":
        print("here", file=sys.stderr, flush=True)
        time.sleep(600)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(import_module(module), name, stopping)
sys.argv[1:] = words
from flows.cli import main
main()
"""
RETRAIN = ("retrain", "drawn", "--profile", "quick")
# Whatever these few images say, so that only what is killed decides how it ends.
GATE = {"margins": {"image_auroc": 0.99, "aupro": 0.99}, "floors": {"image_auroc": 0, "aupro": 0}}


class Killed(NamedTuple):
    project: Project

    def kill_in(self, place: str, word: str = "", *words: str) -> None:
        process = self._start(place, word, "die", *(words or RETRAIN))
        assert process.wait(timeout=600) == -signal.SIGKILL, self.said()

    def hang_in(self, place: str, *words: str) -> "subprocess.Popen[bytes] | Forked":
        process = self._start(place, "", "hang", *words)
        deadline = time.monotonic() + 600
        while "\nhere\n" not in f"\n{self.said()}":
            assert time.monotonic() < deadline
            assert process.poll() is None, self.said()
            time.sleep(0.2)
        return process

    def said(self) -> str:
        return (self.project.root / "said.log").read_text()

    def _start(self, place: str, word: str, end: str, *words: str) -> "subprocess.Popen[bytes] | Forked":
        return start_knotwatch(self.project.root, place, word, end, *words, driver=DRIVER)

    def statuses(self) -> set[str]:
        return {row[0] for row in self._ask("select status from runs")}

    def aliases(self) -> dict[str, int]:
        return {
            str(alias): int(number)
            for alias, number in self._ask("select alias, version from registered_model_aliases")
        }

    def _ask(self, text: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.project.state / "mlflow" / "mlflow.db")) as connection:
            return connection.execute(text).fetchall()


@pytest.fixture(scope="module")
def added(added_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_project(added_once, tmp_path_factory.mktemp("killed") / "project")
    few = {"padim": {"features": 20}, "evaluation": {"bootstrap": 20, "synthetic": 1, "pictures": 1}}
    set_training(project.root, "drawn", algorithms=["padim"], export={"precision": "f32"}, **few)
    settings = project.surface("drawn").settings
    gate = {**GATE, "max_latency_ratio": 1000, "false_alarm_quantile": 0.9999}
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), "policy": {"gate": gate}}))
    return project


class Whole(NamedTuple):
    """A project that a retrain was not killed in, and what that answered."""

    project: Project
    answer: Any


@pytest.fixture(scope="module")
def reference(added: Project, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What a retrain that nobody killed comes to. Tests change copies of it only."""
    other = copy_project(added, tmp_path_factory.mktemp("reference") / "project")
    return Whole(other, run_knotwatch(other.root, *RETRAIN, "--json").json)


@contextmanager
def killing_in(project: Project) -> Iterator[Killed]:
    """End what outlives the processes that are killed in a project."""
    try:
        yield Killed(project)
    finally:
        for server in find_lost_servers(project):
            server.terminate()


@pytest.fixture
def killed(added: Project, tmp_path: Path) -> Iterator[Killed]:
    with killing_in(copy_project(added, tmp_path / "project")) as found:
        yield found


@pytest.fixture
def killed_later(reference: Whole, tmp_path: Path) -> Iterator[Killed]:
    """A project that has a champion already."""
    with killing_in(copy_project(reference.project, tmp_path / "project")) as found:
        yield found


def test_killed_at_each_stage_it_blocks_nobody_and_comes_to_the_same_end(killed: Killed, reference: Whole) -> None:
    """In training, once registered, between register and promote, and between the decision and its alias."""
    kill_in_training(killed)
    killed.kill_in("flows.steps.tasks:check_reproduction")
    assert list((killed.project.state / "scratch" / "drawn").iterdir()), "nothing was left to be cleared up"
    killed.kill_in("flows.promotion.requests:propose")
    assert killed.aliases() == {}
    killed.kill_in("pipelines.registry.aliases:_point", "champion")
    assert killed.aliases() == {"challenger": 2}, "the version whose run was killed counts, or was trained again"
    end = run_knotwatch(killed.project.root, *RETRAIN, "--json").json
    assert end["champion"] == {"algorithm": "padim", "version": 2}
    assert end["models"][0]["metrics"] == reference.answer["models"][0]["metrics"]
    assert end["decision"]["message"].replace("version 2", "version 1") == reference.answer["decision"]["message"]
    assert killed.aliases() == {"champion": 2}
    assert killed.statuses() == {"KILLED", "FINISHED"}
    assert not list((killed.project.state / "scratch" / "drawn").glob("*"))


def kill_in_training(killed: Killed) -> None:
    """While one retrains, others but a rollback are refused by its name; what it leaves is a run without an end."""
    process = killed.hang_in("flows.steps.tasks:train", *RETRAIN)
    try:
        for words in (RETRAIN, ("promote", "drawn", "--version", "1")):
            refused = run_knotwatch(killed.project.root, *words, expect=1)
            assert f"`retrain drawn` (process {process.pid})" in refused.err
        alone = run_knotwatch(killed.project.root, "rollback", "drawn", expect=2)
        assert "has no registered version" in alone.err
    finally:
        process.kill()
        process.wait()
    assert killed.statuses() == {"RUNNING"}


def test_killed_between_aliases_there_is_a_champion_and_the_next_call_ends_the_move(killed_later: Killed) -> None:
    before = killed_later.aliases()["champion"]
    retrain = (*RETRAIN, "--set", "padim.features=19")
    killed_later.kill_in("pipelines.registry.aliases:_point", "champion", *retrain)
    assert killed_later.aliases() == {"champion": before, "previous": before, "challenger": before + 1}
    end = run_knotwatch(killed_later.project.root, *retrain, "--json").json
    assert end["skipped"], "it was trained again"
    assert killed_later.aliases() == {"champion": before + 1, "previous": before}
    assert "RUNNING" not in killed_later.statuses()
    assert find_lost_servers(killed_later.project) == []
    pages = sorted(p.name for p in (killed_later.project.surface("drawn").reports / "decisions").iterdir())
    assert len(pages) == end["decision"]["number"], "something was decided twice"
