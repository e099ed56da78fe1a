"""What the gate checks of a candidate's files: that they score as they did, and where maps and regions lie."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.core.geometry import Box
from pipelines.core.paths import Project, SurfacePaths
from pipelines.core.records import Label, Split
from pipelines.core.surface_settings import RegionSettings
from pipelines.data.prepared import PreparedImage
from pipelines.detector.detector import Detector
from pipelines.registry.checks import check_coordinates, reproduce
from tests.tiny_version import rewrite, save_version, swap_files

NONE = RegionSettings(rule="none")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "version"
    folder.mkdir()
    return save_version(folder)


@pytest.fixture
def paths(tmp_path: Path) -> SurfacePaths:
    """The surface `oak` with one image of 40 x 50 pixels."""
    found = Project(tmp_path / "project").surface("oak")
    found.source.mkdir(parents=True)
    Image.fromarray(np.full((50, 40, 3), 120, np.uint8)).save(found.source / "a.png")
    return found


def prepared(**changes: Any) -> PreparedImage:
    known = {"path": "a.png", "file": "images/a.png", "mask": None, "split": Split.TEST, "label": Label.NORMAL}
    box = {"left": 0, "top": 0, "right": 40, "bottom": 50, "width": 40, "height": 50}
    rest = {"defects": {}, "condition": None, "group": "a", "key": "0", "digest": "0"}
    return PreparedImage.model_validate({**known, **box, **rest, **changes})


def test_a_fresh_process_reproduces_the_reference_tiles(version: Path) -> None:
    assert reproduce(version).ok


def test_a_version_that_scores_its_tiles_otherwise_is_told(version: Path) -> None:
    swap_files(version)
    found = reproduce(version)
    assert not found.ok
    assert found.message


def test_a_version_without_reference_tiles_shows_nothing(version: Path) -> None:
    rewrite(version, lambda info: info.update(references=[]))
    assert not reproduce(version).ok


def test_a_process_that_takes_too_long_is_ended(version: Path) -> None:
    found = reproduce(version, seconds=0.01)
    assert not found.ok
    assert "0.01" in found.message


def test_maps_and_regions_at_their_places_pass(version: Path, paths: SurfacePaths) -> None:
    assert check_coordinates(Detector(version), paths, NONE, [prepared()]).ok


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"right": 39}, NONE),
        ({"width": 41, "right": 41}, NONE),
        ({"path": "gone.png"}, NONE),
        ({}, RegionSettings(rule="box", box=Box(0, 0, 10, 10))),
    ],
    ids=["another region", "another size", "no file", "another rule"],
)
def test_what_lies_elsewhere_does_not(
    version: Path, paths: SurfacePaths, changes: dict[str, Any], rule: RegionSettings
) -> None:
    assert not check_coordinates(Detector(version), paths, rule, [prepared(**changes)]).ok


def test_a_version_of_another_surface_does_not(version: Path, paths: SurfacePaths) -> None:
    rewrite(version, lambda info: info.update(surface="ash"))
    assert not check_coordinates(Detector(version), paths, NONE, [prepared()]).ok
