"""Types of defects end to end: crops that a user sorted become names in an inspection."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.core.geometry import Box
from pipelines.core.paths import Project
from pipelines.data.prepared import read_index, read_mask, read_region
from pipelines.imaging.crops import cut_crop
from tests.conftest import make_project, run_knotwatch, set_training
from tests.flows.projects import lean_on

pytestmark = pytest.mark.slow

SIZE = "192x128"


@pytest.fixture(scope="module")
def project(prefect: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of drawn boards with crops of dark things and of normal wood, trained once."""
    project = lean_on(make_project(tmp_path_factory.mktemp("types") / "project"), prefect)
    words = ("--layout", "procedural", "--normal", "30", "--defective", "10", "--size", SIZE)
    before = run_knotwatch(project.root, "data", "add", "drawn", *words, "--json").json
    crops = cut_by_hand(project, tmp_path_factory.mktemp("crops"))
    added = run_knotwatch(project.root, "data", "add-types", "drawn", str(crops), "--json").json
    assert added["types"]["examples"] == {"blot": 5, "normal": 6}
    assert added["data_version"] != before["data_version"], "examples are data: the next retrain must see them"
    set_training(project.root, "drawn", algorithms=["padim"], export={"precision": "f32"})
    run_knotwatch(project.root, "retrain", "drawn", "--profile", "quick", "--json")
    return project


def cut_by_hand(project: Project, folder: Path) -> Path:
    """Cut what a mask marks into blot/, and normal wood into perfect/."""
    prepared = project.surface("drawn").prepared
    for kind in ("blot", "perfect"):
        (folder / kind).mkdir()
    for image in read_index(prepared):
        region, rows = read_region(prepared, image), np.argwhere(read_mask(prepared, image))
        if image.mask and len(list((folder / "blot").iterdir())) < 5:
            (top, left), (bottom, right) = rows.min(axis=0), rows.max(axis=0) + 1
            box = Box(*(int(v) for v in (left - image.left, top - image.top, right - image.left, bottom - image.top)))
            Image.fromarray(cut_crop(region, box)).save(folder / "blot" / f"{len(list(folder.rglob('*')))}.png")
        elif not image.mask and len(list((folder / "perfect").iterdir())) < 6:
            crop = cut_crop(region, Box(20, 20, 60, 60))
            Image.fromarray(crop).save(folder / "perfect" / f"{len(list(folder.rglob('*')))}.png")
    return folder


def test_an_inspection_names_defects(project: Project) -> None:
    paths = project.surface("drawn")
    flagged = [str(paths.source / i.path) for i in read_index(paths.prepared) if i.mask]
    found = run_knotwatch(project.root, "inspect", "drawn", *flagged, "--json").json["images"]
    defects = [defect for image in found for defect in image["defects"]]
    assert defects
    assert {d["type"] for d in defects} - {None} <= {"unknown", *_known(project)}
    assert any(d["type"] not in ("unknown", None) and 0 < d["confidence"] <= 1 for d in defects)
    assert all(isinstance(image["normal_regions"], int) for image in found)


def _known(project: Project) -> set[str]:
    return set(json.loads(_figures(project).read_text())["types"])


def _figures(project: Project) -> Path:
    (found,) = project.state.rglob("types/figures.json")
    return found


def test_the_version_says_how_well_types_are_named(project: Project) -> None:
    figures = json.loads(_figures(project).read_text())
    assert {"blot", "normal"} <= set(figures["types"]), "crops of the user's, beside what masks name"
    pages = "".join(p.read_text() for p in (project.root / "data/reports/drawn").rglob("index.html"))
    assert "Types of defects" in pages
    assert f"{figures['accuracy']['value']:.3f}" in pages


def test_an_update_keeps_the_examples(project: Project) -> None:
    changed = run_knotwatch(project.root, "data", "update", "drawn", "--json").json
    assert changed["prepared"] == 0
    kept = project.surface("drawn").prepared / "types"
    assert len(list(kept.glob("*/*.png"))) == 11


def test_a_folder_without_crops_is_a_wrong_call(project: Project, tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "notes.txt").write_text("none yet")
    failed = run_knotwatch(project.root, "data", "add-types", "drawn", str(tmp_path / "crops"), expect=2)
    assert "make one folder a type" in failed.err
