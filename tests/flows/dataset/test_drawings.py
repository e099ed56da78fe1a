"""Images that are drawn into a folder of the user's."""

import pytest

from pipelines.core.paths import Project
from tests.conftest import call_knotwatch

Said = pytest.CaptureFixture[str]

WORDS = ("--size", "96x64", "--normal", "2", "--defective", "1")


def test_another_seed_draws_other_images_and_nobody_elses_are_touched(project: Project, capsys: Said) -> None:
    call_knotwatch(capsys, "data", "draw", "new", *WORDS, "--seed", "1")
    images = project.root / "new/images"
    first = {path.name: path.read_bytes() for path in images.iterdir()}
    assert sorted(first) == ["wood-0001.png", "wood-0002.png", "wood-defect-0001.png"]
    call_knotwatch(capsys, "data", "draw", "new", *WORDS, "--seed", "2")
    assert all(path.read_bytes() != first[path.name] for path in images.iterdir())
    mine = project.root / "mine"
    (mine / "images").mkdir(parents=True)
    (mine / "images/wood-0001.png").write_bytes(b"mine")
    for folder in (mine, project.surface("oak").source):
        call_knotwatch(capsys, "data", "draw", str(folder), *WORDS, expect=2)
    assert [path.read_bytes() for path in mine.glob("*/*")] == [b"mine"]
    assert not project.surface("oak").source.exists()
