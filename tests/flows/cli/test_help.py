"""Help and wrong calls, which need no work."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.cli.app import app
from flows.cli.parameters import complete_surface
from pipelines.core.paths import Project
from pipelines.imaging.procedural.species import SPECIES
from pipelines.imaging.procedural.weave import CLOTHS
from tests.conftest import call_knotwatch

Said = pytest.CaptureFixture[str]

HEAVY = {"torch", "mlflow", "prefect", "dvc", "pandas", "numpy", "great_expectations"}
COMMANDS = (
    "retrain",
    "tune",
    "inspect",
    "serve",
    "line",
    "promote",
    "rollback",
    "models",
    "sign",
    "schedule",
    "watch",
    "ui",
    "doctor",
    "backup",
    "restore",
    "gc",
    "data add",
    "data update",
    "data checkout",
    "data draw",
    "data suspects",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(project: Project, capsys: Said, command: str) -> None:
    assert "Example" in call_knotwatch(capsys, *command.split(), "--help").out


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, (*path, name))


ALL = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_is_whole_on_80_columns(
    project: Project, capsys: Said, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call_knotwatch(capsys, *path, "--help").out.splitlines()
    # What is cut ends so; in the first line it means several.
    cut = [line for line in lines[1:] if line.endswith(("...", "…"))]
    assert (cut, [line for line in lines if len(line) > 80]) == ([], [])


def test_every_surface_is_completed(project: Project) -> None:
    for name in ("fabric", "wood-boards", "wool"):
        project.surface(name).settings.write_text("{}")
    taken = {
        (*path, parameter.name): [
            found.value
            for found in parameter.shell_complete(command.make_context("", [], resilient_parsing=True), "wo")
        ]
        for path, command in ALL.items()
        for parameter in command.params
        if parameter.name in {"surface", "surfaces", "source", "target"}
    }
    new = taken.pop(("data", "add", "surface"))
    assert new == [], "a new surface has a new name"
    assert len(taken) == 22
    assert {words for words, found in taken.items() if found != ["wood-boards", "wool"]} == set()


@pytest.mark.services
@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["--version"], {}, f"knotwatch {version('knotwatch')}\n"),
        ([], {"COMP_WORDS": "knotwatch data show wo", "COMP_CWORD": "3"}, "wood-boards\n"),
    ],
)
def test_version_and_completion_need_no_heavy_library(
    project: Project, words: list[str], environment: dict[str, str], said: str
) -> None:
    project.surface("wood-boards").settings.write_text("{}")
    if environment:
        environment |= {"_KNOTWATCH_COMPLETE": "complete_bash"}
    code = f"import atexit, sys\natexit.register(lambda: print({HEAVY} & set(sys.modules), file=sys.stderr))\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}sys.argv = ['knotwatch', *{words}]\nfrom flows.cli import main\nmain()"],
        cwd=project.root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (said, "set()\n")


def test_outside_a_project_nothing_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert complete_surface("") == []


def test_all_looks_that_can_be_drawn_are_named(project: Project, capsys: Said) -> None:
    text = call_knotwatch(capsys, "data", "add", "--help").out
    assert [look for look in (*SPECIES, *CLOTHS) if look not in text] == []


@pytest.mark.services
def test_help_needs_no_heavy_library(project: Project) -> None:
    code = (
        "import sys\nfrom flows.cli.app import run\nrun(['--help'])\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [("retrain",), ("data", "add", "x", "--layout", "nonsense"), ("nonsense",), ("serve", "x", "--port", "70000")],
)
def test_a_wrong_call_ends_with_2(project: Project, capsys: Said, words: tuple[str, ...]) -> None:
    assert "Usage" in call_knotwatch(capsys, *words, expect=2).err


def test_outside_a_project_the_hint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.chdir(tmp_path)
    assert "KNOTWATCH_PROJECT" in call_knotwatch(capsys, "data", "list", expect=2).err
