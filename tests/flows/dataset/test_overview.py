"""What `data show` says of a surface."""

import pytest

from flows.commands.registry import ModelList
from pipelines.core.files import write_whole
from pipelines.core.paths import Project
from pipelines.core.records import Label, Layout, Split
from pipelines.core.surface_settings import ProceduralSettings, SourceSettings, SurfaceSettings, write_surface
from pipelines.data.prepared import PreparedImage, write_index
from tests.conftest import call_knotwatch


def test_masks_types_and_examples_are_counted(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    write_surface(project, "oak", SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/photographs")))
    prepared = project.surface("oak").prepared
    types = ({1: "knot"}, {1: "knot", 2: "crack"}, {})
    write_index(prepared, [image_of(number, defects) for number, defects in enumerate(types)])
    for number in range(3):
        write_whole(prepared / "types" / "resin" / f"{number}.png", b"")
    found = call_knotwatch(capsys, "data", "show", "oak", "--json").json
    assert (found["masks"], found["types"], found["examples"]) == (2, {"crack": 1, "knot": 2}, {"resin": 3})
    said = call_knotwatch(capsys, "data", "show", "oak").out
    assert "2 images with a mask; types: crack 1, knot 2" in said
    assert "knotwatch data suspects oak" in said


def test_without_labels_it_says_what_that_costs(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    write_surface(project, "oak", SurfaceSettings(source=SourceSettings(layout=Layout.UNLABELLED, path="/photographs")))
    unknown = image_of(0, {}).model_copy(update={"split": Split.TRAIN, "label": Label.UNKNOWN})
    write_index(project.surface("oak").prepared, [unknown])
    said = call_knotwatch(capsys, "data", "show", "oak").out
    assert "thresholds come without a guarantee" in said
    assert "mislabelled" not in said


def test_without_a_version_it_says_what_makes_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.commands.registry.list_models", lambda _: ModelList([], "", ""))
    assert call_knotwatch(capsys, "models", "oak").out.startswith("no version yet: knotwatch retrain oak\n")


def image_of(number: int, defects: dict[int, str]) -> PreparedImage:
    place = {"left": 0, "top": 0, "right": 9, "bottom": 9, "width": 9, "height": 9}
    name = f"{number}.png"
    facts = {"path": name, "file": f"images/{name}", "mask": f"masks/{name}" if defects else None}
    rest = {"split": Split.TEST, "label": Label.ANOMALOUS, "condition": None, "group": "", "key": ""}
    return PreparedImage.model_validate({**place, **facts, **rest, "defects": defects})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SourceSettings(layout=Layout.PROCEDURAL, procedural=ProceduralSettings(seed=7)), "procedural, from seed 7"),
        (SourceSettings(layout=Layout.PROCEDURAL), "procedural, from a seed"),
        (SourceSettings(layout=Layout.FOLDER, path="/photographs"), "folder, from /photographs"),
    ],
    ids=["seed", "default", "folder"],
)
def test_where_the_images_are_from(
    project: Project, capsys: pytest.CaptureFixture[str], source: SourceSettings, said: str
) -> None:
    write_surface(project, "oak", SurfaceSettings(source=source))
    assert call_knotwatch(capsys, "data", "show", "oak").out.startswith(f"oak: layout {said}\n")
