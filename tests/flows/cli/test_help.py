"""Help and wrong calls, which need no work."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.paths import Project
from pipelines.imaging.procedural.species import SPECIES
from pipelines.imaging.procedural.weave import CLOTHS
from tests.conftest import call_knotwatch

Said = pytest.CaptureFixture[str]

COMMANDS = (
    "retrain",
    "inspect",
    "serve",
    "promote",
    "rollback",
    "models",
    "schedule",
    "watch",
    "ui",
    "doctor",
    "data add",
    "data update",
    "data checkout",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(project: Project, capsys: Said, command: str) -> None:
    assert "Example" in call_knotwatch(capsys, *command.split(), "--help").out


def test_all_looks_that_can_be_drawn_are_named(project: Project, capsys: Said) -> None:
    text = call_knotwatch(capsys, "data", "add", "--help").out
    assert [look for look in (*SPECIES, *CLOTHS) if look not in text] == []


@pytest.mark.services
def test_help_needs_no_heavy_library(project: Project) -> None:
    code = (
        "import sys\nfrom flows.cli.app import run\nrun(['--help'])\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'dvc', 'pandas', 'numpy', 'great_expectations'} & set(sys.modules)\n"
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
