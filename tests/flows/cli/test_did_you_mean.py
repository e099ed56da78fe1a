"""A misspelt name is refused, and the closest one is offered, wherever names are taken."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.core.errors import CallError, find_closest
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, write_surface
from pipelines.models.registry import find_algorithm
from tests.conftest import call_knotwatch

Said = pytest.CaptureFixture[str]
MLFLOW = pytest.mark.services


@pytest.fixture
def boards(project: Project) -> Iterator[Project]:
    source = SourceSettings(layout=Layout.FOLDER, path="/nowhere")
    for name in ("fabric", "wood-boards"):
        write_surface(project, name, SurfaceSettings(source=source))
    (project.root / "review.json").write_text("{}")
    return project


@pytest.mark.parametrize(
    "words",
    [
        "retrain wod-boards",
        "retrain Wood-Boards",
        "watch wod-boards --once",
        "adapt fabric wod-boards",
        "schedule wod-boards --watch",
        "data update wod-boards",
        "data show wod-boards",
        "data add-types wod-boards .",
        "data review wod-boards review.json",
        "data remove wod-boards --yes",
        pytest.param("data checkout wod-boards 3f2a", marks=MLFLOW),
        pytest.param("inspect wod-boards .", marks=MLFLOW),
        pytest.param("serve wod-boards --port 0", marks=MLFLOW),
        pytest.param("promote wod-boards", marks=MLFLOW),
        pytest.param("rollback wod-boards", marks=MLFLOW),
        pytest.param("rollback wod-boards --release", marks=MLFLOW),
        pytest.param("models wod-boards", marks=MLFLOW),
        pytest.param("models wod-boards --lineage", marks=MLFLOW),
    ],
)
def test_every_command_offers_the_surface_that_was_meant(boards: Project, capsys: Said, words: str) -> None:
    assert "did you mean 'wood-boards'?" in call_knotwatch(capsys, *words.split(), expect=2).err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--set", "padim.featurs=64"], "padim.features"),
        (["--set", "padm.features=64"], "padim"),
        (["--set", "export.precision=f23"], "f32"),
        (["--set", "algorithms=[padmi]"], "padim"),
        (["--profile", "quik"], "quick"),
    ],
)
def test_a_call_offers_the_key_algorithm_or_profile(
    boards: Project, capsys: Said, words: list[str], meant: str
) -> None:
    assert f"did you mean '{meant}'?" in call_knotwatch(capsys, "retrain", "fabric", *words, expect=2).err


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("source: {layout: foldr, path: /x}", "folder"),
        ("source: {layout: folder, path: /x}\npolicy: {gate: {automatik: true}}", "policy.gate.automatic"),
        ("source: {layout: folder, path: /x}\ntrain: {tiles: {overlp: 0.2}}", "tiles.overlap"),
    ],
)
def test_a_surfaces_file_offers_the_key_or_layout(boards: Project, capsys: Said, text: str, meant: str) -> None:
    boards.surface("fabric").settings.write_text(text)
    assert f"did you mean '{meant}'?" in call_knotwatch(capsys, "retrain", "fabric", expect=2).err


def test_params_offer_the_key(boards: Project, capsys: Said) -> None:
    boards.params.write_text(boards.params.read_text().replace("colour:", "color:"))
    assert "did you mean 'colour'?" in call_knotwatch(capsys, "retrain", "fabric", expect=2).err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--layout", "foldr"], "folder"),
        (["--layout", "procedural", "--look", "walnt"], "walnut"),
        (["--layout", "procedural", "--material", "fabrik"], "fabric"),
    ],
)
def test_new_data_offer_the_layout_and_the_look(boards: Project, capsys: Said, words: list[str], meant: str) -> None:
    assert f"did you mean '{meant}'?" in call_knotwatch(capsys, "data", "add", "new", *words, expect=2).err


def test_an_algorithm_is_offered_by_its_name() -> None:
    with pytest.raises(CallError, match="did you mean 'efficientad'"):
        find_algorithm("efficentad")


def test_nothing_is_offered_where_nothing_is_close(boards: Project, capsys: Said, tmp_path: Path) -> None:
    assert "did you mean" not in call_knotwatch(capsys, "data", "show", "tiles", expect=2).err
    assert find_closest("x" * 10**6, ["x" * 70]) == "x" * 70, "a long name costs no more than a short one"
