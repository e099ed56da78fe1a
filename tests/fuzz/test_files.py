"""Each text that people or programs hand in is read right, or refused by an error that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from flows.study.outlines import read_outlines
from pipelines.core.errors import CallError, SettingsError, SourceError, ToolError
from pipelines.core.paths import Project
from pipelines.core.records import Label, Layout, SourceRow
from pipelines.core.surface_settings import SurfaceSettings, read_surface, write_surface
from pipelines.data.intake import read_arrivals
from pipelines.data.layouts import read_source
from pipelines.data.manifest import as_manifest, read_manifest, write_manifest
from pipelines.data.review import read_review
from pipelines.data.review_ledger import Reviewed, read_reviews, write_reviews
from tests.fuzz.texts import Damaged, as_json, cut, damaged, few, read_or_refuse

SETTINGS = SurfaceSettings.model_validate({"source": {"layout": "folder", "path": "in"}}).model_dump(mode="json")
REVIEW = {
    "kind": "knotwatch review",
    "schema_version": 1,
    "surface": "oak",
    "model": "oak/1",
    "reviewed": "now",
    "images": [
        {
            "path": "a.png",
            "sha256": "0" * 64,
            "width": 48,
            "height": 36,
            "drawn": "score",
            "missed": False,
            "defects": [{"outline": [[5, 5], [5, 9], [9, 9]], "verdict": "confirmed", "type": "knot"}],
        }
    ],
}
OUTLINES = {"images": {"a.png": [{"label": "knot", "polygon": [[0, 0], [0, 5], [5.5, 5]]}]}, "by": "somebody"}
REVIEWED = Reviewed(
    sha256="0" * 64,
    image="reviews/photographs/a.png",
    mask="reviews/masks/a.png",
    label=Label.ANOMALOUS,
    declared_split="test",
    defects={1: "knot"},
)
cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with one image; its tables are written anew by each example."""
    made = tmp_path_factory.mktemp("fuzz")
    for name in ("images/a.png", "masks/a.png", "reviews/photographs/a.png", "a.png"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(b"pixels")
    (made / "data/surfaces").mkdir(parents=True)
    return made


@few
@given(damaged(SETTINGS))
def test_settings_are_read_right_or_the_key_is_named(folder: Path, found: Damaged) -> None:
    project = Project(folder)
    file = project.surface("oak").settings
    file.write_text(yaml.safe_dump(found.value), encoding="utf-8")
    read = read_or_refuse(lambda: read_surface(project, "oak"), file, kind=SettingsError)
    if read is None:
        return
    write_surface(project, "oak", read)
    assert read_surface(project, "oak") == read, "what is written out reads back"


@few
@given(st.one_of(cut(yaml.safe_dump(SETTINGS).encode()), st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_a_damaged_file_of_settings_is_named(folder: Path, text: bytes) -> None:
    project = Project(folder)
    file = project.surface("oak").settings
    file.write_bytes(text)
    read_or_refuse(lambda: read_surface(project, "oak"), file, kind=SettingsError)


@few
@given(st.lists(st.tuples(st.sampled_from(("a.png", "A.png", "b.png", "")), cells, cells, cells), max_size=3))
@example([("a.png", "", "", "1;2, 3")])
@example([("a.png", "a.png", "dry", "99")])
def test_a_table_of_labels_is_read_right_or_named(folder: Path, rows: list[tuple[str, ...]]) -> None:
    lines = ["image,mask,location,defects", *(",".join(f'"{c}"' for c in row) for row in rows)]
    (folder / "labels.csv").write_bytes("\n".join(lines).encode())
    read = read_or_refuse(lambda: read_source(Layout.VSB, folder), folder, kind=SourceError)
    assert read is None or [row.path for row in read] == ["images/a.png"]


@few
@given(cut(b'\xef\xbb\xbfimage,mask,location,defects,split\na.png,a.png,"dry, cold",1 2,test\n'))
def test_a_damaged_table_of_labels_is_named(folder: Path, text: bytes) -> None:
    (folder / "labels.csv").write_bytes(text)
    read_or_refuse(lambda: read_source(Layout.VSB, folder), folder, kind=SourceError)


@few
@given(cut(b"image,mask,condition,defects\nimages/a.png,masks/a.png,warm,1\n"), cut(b'{"1": "knot"}'))
def test_damaged_tables_of_a_drawn_data_set_are_named(folder: Path, table: bytes, types: bytes) -> None:
    (folder / "labels.csv").write_bytes(table)
    (folder / "defects.json").write_bytes(types)
    read_or_refuse(lambda: read_source(Layout.PROCEDURAL, folder), folder, kind=SourceError)


@few
@given(condition=st.text(st.characters(codec="utf-8"), max_size=8), group=cells, area=st.floats(0, 1))
@example(condition="NA", group="1.50", area=0.5)
@example(condition='"', group="a\rb", area=1e-300)
@example(condition="a\0b", group="\r", area=0.0)
def test_a_manifest_reads_back_as_it_was_written(folder: Path, condition: str, group: str, area: float) -> None:
    row = SourceRow(path="a.png", label=Label.NORMAL, condition=condition, group=group)
    told = {"path": row.path, "defects": '{"1": "knot"}', "condition": row.condition, "group": row.group}
    made = as_manifest([{**told, "mask_area": area}, {"path": "b.png", "defects": "{}"}])
    write_manifest(made, folder / "manifest.csv")
    found = read_manifest(folder / "manifest.csv")
    assert found.drop(columns="mask_area").equals(made[list(found.columns)].drop(columns="mask_area"))
    assert found["mask_area"][0] == pytest.approx(area, rel=1e-12, abs=0)


@few
@given(st.data())
def test_a_damaged_manifest_is_named(folder: Path, data: st.DataObject) -> None:
    file = folder / "manifest.csv"
    write_manifest(as_manifest([{"path": "a.png", "defects": '{"1": "knot"}', "label": "normal"}]), file)
    file.write_bytes(data.draw(cut(file.read_bytes())))
    read_or_refuse(lambda: read_manifest(file), file, kind=ToolError)


@few
@given(st.one_of(damaged(REVIEW).map(lambda found: as_json(found.value)), cut(as_json(REVIEW)), st.binary(max_size=40)))
def test_a_review_is_read_right_or_named(folder: Path, text: bytes) -> None:
    file = folder / "review.json"
    file.write_bytes(text)
    read = read_or_refuse(lambda: read_review(file), file, kind=CallError)
    for image in read.images if read else ():
        assert all(0 <= x < image.width and 0 <= y < image.height for d in image.defects for x, y in d.outline)


@few
@given(name=st.text(st.characters(codec="utf-8"), max_size=8), value=st.integers(1, 255))
def test_a_table_of_reviews_reads_back_as_it_was_written(folder: Path, name: str, value: int) -> None:
    (folder / "reviews/masks").mkdir(exist_ok=True)
    written = REVIEWED.model_copy(update={"defects": {value: name}})
    write_reviews(folder, [written])
    assert read_reviews(folder) == [written]


@few
@given(st.data())
def test_a_damaged_table_of_reviews_is_named(folder: Path, data: st.DataObject) -> None:
    write_reviews(folder, [REVIEWED])
    table = folder / "reviews/reviews.csv"
    table.write_bytes(data.draw(cut(table.read_bytes())))
    read_or_refuse(lambda: read_reviews(folder), table, kind=SourceError)


@few
@given(cut(b"path,arrival\na.png,1\n"))
def test_a_damaged_order_of_arrival_is_named(folder: Path, text: bytes) -> None:
    table = folder / "arrivals.csv"
    table.write_bytes(text)
    read = read_or_refuse(lambda: read_arrivals(table), table, kind=SourceError)
    assert read is None or read["arrival"].dtype == int


@few
@given(
    st.one_of(damaged(OUTLINES).map(lambda found: as_json(found.value)), cut(as_json(OUTLINES)), st.binary(max_size=40))
)
def test_annotations_are_read_right_or_named(folder: Path, text: bytes) -> None:
    file = folder / "annotations.json"
    file.write_bytes(text)
    read = read_or_refuse(lambda: read_outlines(file, folder), file, folder, kind=SourceError)
    told: Any = json.loads(text)["images"] if read else {}
    assert set(read or {}) == {name for name, outlines in told.items() if outlines}
