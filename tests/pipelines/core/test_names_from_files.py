"""No name that a file holds leads out of its folder, whoever reads it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.core.errors import KnotwatchError
from pipelines.core.records import Layout
from pipelines.data.intake import take_in
from pipelines.data.review_ledger import drop_unnamed, raw_file
from pipelines.data.type_examples import prepare_types
from tests.pipelines.hostile import NAMES, OUTSIDE, READERS, write_file

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose neighbour holds a secret, which stays as it is."""
    secret = write_file(tmp_path / OUTSIDE, "secret")
    inner = tmp_path / "a/b/c/folder"
    inner.mkdir(parents=True)
    yield inner
    assert [p for p in secret.parent.rglob("*") if p.is_file()] == [secret]
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("name", NAMES, ids=[repr(name)[:40] for name in NAMES])
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_names_that_lead_out(folder: Path, reader: str, name: str) -> None:
    with pytest.raises(KnotwatchError) as refused:
        READERS[reader](folder, name)
    assert len(refused.value.problem) < 1000
    assert "\0" not in str(refused.value)


def test_a_link_on_the_way_is_not_followed(folder: Path) -> None:
    secret = folder.parents[3] / OUTSIDE
    ledger, source = folder / "ledger", folder / "source"
    for place in (ledger / "reviews", source / "good", folder / "mirror", folder / "types"):
        place.mkdir(parents=True)
    write_file(source / "good/secret.png")
    (ledger / "reviews/photographs").symlink_to(secret.parent)
    (folder / "mirror/good").symlink_to(secret.parent)
    (folder / "types/crack").symlink_to(secret.parent)
    with pytest.raises(KnotwatchError, match="leads out of the folder"):
        raw_file(source, "reviews/photographs/secret.png")
    with pytest.raises(KnotwatchError, match="leads out of the folder"):
        take_in(Layout.FOLDER, source, folder / "mirror", ledger / "arrivals.csv")
    with pytest.raises(KnotwatchError, match="leads out of the folder"):
        prepare_types(folder / "types", folder / "prepared", 200)


def test_a_linked_folder_of_reviews_is_not_emptied(folder: Path) -> None:
    (folder / "reviews").symlink_to((folder.parents[3] / OUTSIDE).parent)
    with pytest.raises(KnotwatchError, match="leads out of the folder"):
        drop_unnamed(folder)


# What a record calls a file by.
_NAMES = {"path", "file", "image", "mask", "folder", "overlay", "map", "relpath", "file_name"}
# Records whose field is a plain text, and why that does no harm.
_SHOWN = {
    "Quarantined.path": "shown",
    "ScoredImage.path": "shown",
    "Picture.path": "shown",
    "Refused.path": "shown",
    "ImageSeen.path": "shown",
    "Suspect.path": "shown",
    "ThresholdImage.path": "shown",
    "Shown.path": "where the user's image lies",
    "Verdict.image": "shown",
    "SinkAddress.path": "where a person who called the command wants verdicts to go",
    "Inspected.path": "where the user's image lies",
    "BackupResult.file": "where this process wrote it",
    "Inspected.map": "where this process wrote it",
    "Inspected.overlay": "where this process wrote it",
    "Observation.path": "where the user's image lies",
    "JudgedImage.path": "where the user's image lies; read only where it has the SHA-256 of the review",
    "SourceSettings.path": "where the user's images lie; checked by itself where it lies in a repository",
    "Start.folder": "handed on within a process",
    "Trained.folder": "handed on within a process",
    "Origin.folder": "handed on within a process",
    "Attempt.folder": "handed on within a process; of one that was kept, where it was found",
}


def _sources() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("pipelines", "flows"):
        for file in sorted((ROOT / package).rglob("*.py")):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def test_a_record_that_names_a_file_refuses_hostile_names_itself() -> None:
    plain = {field for _, module in _sources() for field in _plain_fields(module)}
    assert plain == set(_SHOWN), "use InsidePath, or say here why a plain text does no harm"


def _plain_fields(module: ast.Module) -> Iterator[str]:
    for owner in (node for node in ast.walk(module) if isinstance(node, ast.ClassDef)):
        if {base.id for base in owner.bases if isinstance(base, ast.Name)} & {"Record", "Settings", "BaseModel"}:
            for node in owner.body:
                if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in {"str", "str | None"}:
                    name = ast.unparse(node.target)
                    yield from [f"{owner.name}.{name}"] if name in _NAMES else []


def test_no_name_is_joined_to_a_folder_without_being_looked_at() -> None:
    joined = set()
    for file, module in _sources():
        for node in ast.walk(module):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _names_a_file(node.right):
                joined.add(f"{file.name}: {ast.unparse(node)}")
    assert joined == {
        "review.py: root / image.path",  # read only where the file has the SHA-256 that the review says
        "vsb.py: PurePosixPath('images') / row['image']",  # a name, which the row's record looks at
        "vsb.py: PurePosixPath('masks') / row['mask']",
    }, "use pipelines.core.paths.inside(folder, name)"


def _names_a_file(node: ast.expr) -> bool:
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value in _NAMES
    return isinstance(node, ast.Attribute) and node.attr in _NAMES
