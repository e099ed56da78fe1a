"""Two processes behind one port: no request fails while the champion changes, while one dies, or at the end."""

import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from pipelines.core.paths import Project
from tests.conftest import run_knotwatch
from tests.flows.processes import until
from tests.flows.projects import SURFACE, copy_project
from tests.flows.serving.served import Served, add_version, encode, put_in_use, serving


@pytest.fixture
def served(trained_once: Project, tmp_path: Path) -> Iterator[Served]:
    project = copy_project(trained_once, tmp_path / "project")
    with serving(project, tmp_path / "said", "--replicas", "2") as found:
        yield found


def replicas(served: Served) -> set[int]:
    family = psutil.Process(served.process.pid).children()
    return {one.pid for one in family if "flows.serving.replicas.replica" in one.cmdline()}


def read_figures(served: Served) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


ANSWERED = f'knotwatch_requests_total{{outcome="answered",surface="{SURFACE}"}}'


def status_of(served: Served, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_no_request_fails_while_the_champion_changes_or_a_replica_has_died(served: Served) -> None:
    boards = sorted((served.project.surface(SURFACE).source / "images").iterdir())[:4]
    bodies = [{"dataframe_records": [{"image": encode(board)}]} for board in boards]
    new, enough, seen = add_version(served.project), Event(), list[dict[str, float]]()

    def load(body: Any) -> list[int]:
        answers = []
        while not enough.is_set():
            answers.append(served.ask(body)[0]["version"])
        return answers

    def watch() -> None:
        while not enough.is_set():
            seen.append(read_figures(served))

    with ThreadPoolExecutor(5) as pool:
        loads = [*(pool.submit(load, body) for body in bodies)]
        watched = pool.submit(watch)
        try:
            time.sleep(1)
            put_in_use(served.project, new)
            until(lambda: all(served.get("version")["version"] == new for _ in range(20)), "the new champion")
            time.sleep(0.5)
        finally:
            enough.set()
        answers = [answer.result() for answer in loads]
        watched.result()
    assert [set(versions) for versions in answers] == [{1, new}] * 4
    figures, asked = read_figures(served), sum(map(len, answers))
    assert figures[ANSWERED] == asked, "whichever replica is asked, it tells of all"
    assert figures[f'knotwatch_champion_changes_total{{surface="{SURFACE}"}}'] == 2, "each of the replicas"
    assert figures[f'knotwatch_champion_version{{surface="{SURFACE}"}}'] == new
    assert figures["knotwatch_champions_loaded"] == 2
    assert [found.get(ANSWERED, 0) for found in seen] == sorted(found.get(ANSWERED, 0) for found in seen)

    before = replicas(served)
    lost = before.pop()
    os.kill(lost, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(lost) or psutil.Process(lost).status() == "zombie", "its end", seconds=10)
    for _ in range(8):
        assert served.ask(bodies[0])[0]["version"] == new
    until(lambda: len(replicas(served)) == 2 and lost not in replicas(served), "another replica", served.process)
    assert before < replicas(served)
    assert read_figures(served)[ANSWERED] == asked + 8, "what a dead one answered still counts"

    served.process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    until(lambda: status_of(served, "/ready") == 503, "that it is not ready", seconds=2)
    assert (status_of(served, "/live"), served.ask(bodies[0])[0]["version"]) == (200, new), "and it still answers"
    assert served.process.wait(timeout=20) == 0, served.said.read_text()
    assert time.monotonic() - told < 10
    assert "Traceback" not in served.said.read_text()


@pytest.mark.slow
def test_replicas_end_with_a_supervisor_that_is_killed(served: Served) -> None:
    left = [psutil.Process(pid) for pid in replicas(served)]
    assert len(left) == 2
    served.process.kill()
    assert psutil.wait_procs(left, timeout=10)[1] == []


def test_a_surface_without_a_champion_ends_all_with_its_reason(added_once: Project, tmp_path: Path) -> None:
    project = copy_project(added_once, tmp_path / "project")
    done = run_knotwatch(project.root, "serve", SURFACE, "--port", "0", "--replicas", "2", expect=1)
    assert "has no champion" in done.err
    assert f"knotwatch retrain {SURFACE}" in done.err
