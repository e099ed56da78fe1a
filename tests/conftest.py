"""Fixtures: a project folder of its own for each test that needs one, tiny boards, and the real images."""

import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli.app import run
from pipelines.core.paths import Project
from tests.forked import Forked, Forks
from tests.tiers import is_fast, mark_services, refuse_services

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data"
SHIPPED = (
    "dvc.yaml",
    "params.yaml",
    "mlflow",
    "pipelines",
    "flows",
    ".dvcignore",
    ".gitignore",
    "data/surfaces/index.yaml",
)


def make_project(folder: Path) -> Project:
    """Lay out what a clone holds in an empty folder, as a git and DVC project without a surface."""
    for name in (*SHIPPED, ".dvc/config"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target)
    for name in ("raw", "work"):
        (folder / "data" / name).mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return Project(folder)


def set_training(root: Path, surface: str, **settings: object) -> None:
    """Write a surface's own training settings, for example `algorithms=["padim"]`, into its YAML."""
    path = Project(root).surface(surface).settings
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**values, "train": settings}))


def _keep_to_own_cores() -> None:
    """Give each of several workers cores of its own, and so what it starts.

    Networks compute on all cores that a process may use, and wait for each other by spinning: two workers on the same
    two cores took up to seven times as long as one on each.
    """
    worker, count = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    cores, number = sorted(os.sched_getaffinity(0)), int(worker.removeprefix("gw") or 0)
    if worker:
        # Of more workers than cores, two share one: much of the time tests wait for servers.
        os.sched_setaffinity(0, cores[number::count] or [cores[number % len(cores)]])


_keep_to_own_cores()

_SERVERS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "PREFECT_API_URL",
    "PREFECT_API_AUTH_STRING",
    "KNOTWATCH_PROJECT",
)
for _name in _SERVERS:
    os.environ.pop(_name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_services(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Watch a fast test from its first fixture on; see tests/tiers.py."""
    with refuse_services() if is_fast(item) else nullcontext():
        return (yield)


@pytest.fixture
def pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C was pressed, and some library has answered it in its own way."""
    requested = threading.Event()
    requested.set()
    monkeypatch.setattr("pipelines.core.progress._interrupted", requested)
    monkeypatch.setattr("pipelines.core.progress._numbers", [signal.SIGINT])


@pytest.fixture(autouse=True)
def _no_servers_of_another_test() -> Iterator[None]:
    """MLflow's `set_tracking_uri` leaves the address in the environment, where the next command would find it.

    So does a session what Prefect is told: this test's folder, and how much it may log.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    yield
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update(before)
    for name in _SERVERS:
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def _lines_are_heard() -> Iterator[None]:
    """A command that was called in this process takes the stages' lines to its terminal; libraries raise the level."""
    loggers = [logging.getLogger(name) for name in ("flows", "pipelines")]
    for name, logger in list(logging.root.manager.loggerDict.items()):
        # The migrations of MLflow's database silence every logger that is there when they configure their own.
        if name.startswith(("flows.", "pipelines.")) and isinstance(logger, logging.Logger):
            logger.disabled = False
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.handlers, logger.propagate = [], True
    yield
    for logger in loggers:
        logger.handlers, logger.propagate = [], True


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project, which is the current folder."""
    made = make_project(tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


class Finished:
    """A command that ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        """The one object on standard output; a second line is a fault."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"expected one JSON line, found {len(lines)}:\n{self.out}\n{self.err[-2000:]}"
        return json.loads(lines[0])


Knotwatch = Callable[..., Finished]

_NEW = 2
_calls = count()
_forks = functools.cache(Forks)


def run_knotwatch(
    root: Path, *words: str, expect: int = 0, env: dict[str, str] | None = None, before: str = ""
) -> Finished:
    """Run the real command in a project, as a user would; `before` is Python that its process runs first.

    The first ones are new interpreters: to import ahead for later ones would take longer than they do.
    """
    environment = {**os.environ, **(env or {})}
    # Another package is found by a new interpreter alone.
    if next(_calls) < _NEW or "PYTHONPATH" in (env or {}):
        command = [sys.executable, "-c", f"{before}\nfrom flows.cli import main; main()", *words]
        ended = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        done = Finished(ended.returncode, ended.stdout, ended.stderr)
    else:
        done = Finished(*_forks().call(root, words, environment, before))
    assert done.code == expect, f"{words} ended with {done.code}:\n{done.out}\n{done.err[-4000:]}"
    return done


def start_knotwatch(root: Path, *words: str, driver: str) -> "subprocess.Popen[bytes] | Forked":
    """Start Python in a project that runs the command of its own; what it says goes to `said.log` there.

    A file, because what outlives a killed process would hold a pipe open.
    """
    with (root / "said.log").open("wb") as said:
        if next(_calls) >= _NEW:
            return _forks().start(root, words, os.environ, driver, said.fileno(), said.fileno())
        return subprocess.Popen([sys.executable, "-c", driver, *words], cwd=root, stdout=said, stderr=said)


def call_knotwatch(said: pytest.CaptureFixture[str], *words: str, expect: int = 0) -> Finished:
    """Call the command in this process, in the current folder: without the seconds that a new interpreter takes."""
    said.readouterr()
    done = Finished(run(list(words)), *said.readouterr())
    assert done.code == expect, f"{words} ended with {done.code}:\n{done.out}\n{done.err[-4000:]}"
    return done


@pytest.fixture
def knotwatch(project: Project) -> Knotwatch:
    """The command line in an empty project."""
    return lambda *words, **options: run_knotwatch(project.root, *words, **options)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real images; tests that need it are skipped where it is absent."""
    if not REAL.is_dir():
        pytest.skip("no ../shared/data beside the project: real images are not part of it")
    return REAL
