"""A retrain killed with SIGKILL at its stages, and run again: the same end, and a champion at every moment."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
import yaml

from flows.runtime.leftovers import find_lost_servers
from pipelines.core.paths import Project
from tests.conftest import run_knotwatch, set_training
from tests.flows.projects import copy_project

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

    def hang_in(self, place: str, *words: str) -> "subprocess.Popen[bytes]":
        process = self._start(place, "", "hang", *words)
        deadline = time.monotonic() + 600
        while "here" not in self.said():
            assert time.monotonic() < deadline
            assert process.poll() is None, self.said()
            time.sleep(0.2)
        return process

    def said(self) -> str:
        return (self.project.root / "said.log").read_text()

    def _start(self, place: str, word: str, end: str, *words: str) -> "subprocess.Popen[bytes]":
        # A file, because what outlives a killed process would hold a pipe open.
        with (self.project.root / "said.log").open("wb") as said:
            command = [sys.executable, "-c", DRIVER, place, word, end, *words]
            return subprocess.Popen(command, cwd=self.project.root, stdout=said, stderr=said)

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


@pytest.fixture(scope="module")
def reference(added: Project, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a retrain that nobody killed comes to."""
    other = copy_project(added, tmp_path_factory.mktemp("reference") / "project")
    return run_knotwatch(other.root, *RETRAIN, "--json").json


@pytest.fixture(scope="module")
def killed(added: Project, reference: Any) -> Iterator[Killed]:
    yield Killed(added)
    for server in find_lost_servers(added):
        server.terminate()


def test_while_one_retrains_others_are_refused_by_its_name_and_a_killed_one_blocks_nobody(killed: Killed) -> None:
    process = killed.hang_in("flows.steps.tasks:train", *RETRAIN)
    try:
        for words in (RETRAIN, ("promote", "drawn", "--version", "1"), ("rollback", "drawn")):
            refused = run_knotwatch(killed.project.root, *words, expect=1)
            assert f"`retrain drawn` (process {process.pid})" in refused.err
    finally:
        process.kill()
        process.wait()
    assert killed.statuses() == {"RUNNING"}


def test_killed_at_each_stage_it_comes_to_the_same_end(killed: Killed, reference: Any) -> None:
    """In training (above), once registered, between register and promote, and between the decision and its alias."""
    killed.kill_in("flows.steps.tasks:check_reproduction")
    assert list((killed.project.state / "scratch" / "drawn").iterdir()), "nothing was left to be cleared up"
    killed.kill_in("flows.promotion.requests:propose")
    assert killed.aliases() == {}
    killed.kill_in("pipelines.registry.aliases:_point", "champion")
    assert killed.aliases() == {"challenger": 2}, "the version whose run was killed counts, or was trained again"
    end = run_knotwatch(killed.project.root, *RETRAIN, "--json").json
    assert end["champion"] == {"algorithm": "padim", "version": 2}
    assert end["models"][0]["metrics"] == reference["models"][0]["metrics"]
    assert end["decision"]["message"].replace("version 2", "version 1") == reference["decision"]["message"]
    assert killed.aliases() == {"champion": 2}
    assert killed.statuses() == {"KILLED", "FINISHED"}
    assert not list((killed.project.state / "scratch" / "drawn").glob("*"))


def test_killed_between_aliases_there_is_a_champion_and_the_next_call_ends_the_move(killed: Killed) -> None:
    before = killed.aliases()["champion"]
    retrain = (*RETRAIN, "--set", "padim.features=19")
    killed.kill_in("pipelines.registry.aliases:_point", "champion", *retrain)
    assert killed.aliases() == {"champion": before, "previous": before, "challenger": before + 1}
    end = run_knotwatch(killed.project.root, *retrain, "--json").json
    assert end["skipped"], "it was trained again"
    assert killed.aliases() == {"champion": before + 1, "previous": before}
    assert "RUNNING" not in killed.statuses()
    assert find_lost_servers(killed.project) == []
    pages = sorted(p.name for p in (killed.project.surface("drawn").reports / "decisions").iterdir())
    assert len(pages) == end["decision"]["number"], "something was decided twice"
