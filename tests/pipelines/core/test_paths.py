"""Where things lie, and names that would lead elsewhere."""

from pathlib import Path

import pytest

from pipelines.core.errors import CallError
from pipelines.core.paths import Project, find_project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path.resolve() / "project"
    (made / "data" / "raw").mkdir(parents=True)
    for name in ("dvc.yaml", "params.yaml"):
        (made / name).touch()
    return made


@pytest.mark.parametrize("name", ["oak", "a", "1", "wood-boards", "a--b", "x" * 63])
def test_every_file_of_a_surface_lies_in_the_project(root: Path, name: str) -> None:
    paths = Project(root).surface(name)
    places = ("settings", "raw", "source", "ledger", "arrivals", "work", "manifest", "verdict", "prepared", "reports")
    for place in places:
        found = Path(getattr(paths, place)).resolve()
        assert found.is_relative_to(root / "data")
        assert name in found.relative_to(root).as_posix().replace(".yaml", "").split("/")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "a\\b",
        "a.b",
        "Oak",
        "-a",
        "a-",
        "a b",
        "a\n",
        "x" * 64,
        "index",
        "éa",
        "a\0",
    ],
)
def test_a_name_that_could_leave_its_folder_is_refused(root: Path, name: str) -> None:
    with pytest.raises(CallError, match="cannot name a surface"):
        Project(root).surface(name)


def test_a_name_that_is_refused_is_offered_as_it_could_be(root: Path) -> None:
    (root / "data/surfaces").mkdir(parents=True)
    (root / "data/surfaces/cloth.yaml").touch()
    with pytest.raises(CallError) as refused:
        Project(root).surface("My cloth")
    assert "did you mean 'my-cloth'?" in refused.value.hint


def test_the_index_is_no_surface(root: Path) -> None:
    project = Project(root)
    project.surfaces_dir.mkdir()
    for name in ("index", "oak", "ash"):
        (project.surfaces_dir / f"{name}.yaml").touch()
    assert project.surface_names() == ["ash", "oak"]


def test_a_project_is_found_from_below(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_project(root / "data" / "raw").root == root
    monkeypatch.chdir(root / "data")
    assert find_project().root == root
    (root / "params.yaml").unlink()
    with pytest.raises(CallError, match=r"expected dvc\.yaml and params\.yaml"):
        find_project()


def test_the_named_project_comes_before_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KNOTWATCH_PROJECT", str(root))
    assert find_project().root == root
    monkeypatch.setenv("KNOTWATCH_PROJECT", str(tmp_path / "nowhere"))
    monkeypatch.chdir(root)
    with pytest.raises(CallError, match="nowhere"):
        find_project()
