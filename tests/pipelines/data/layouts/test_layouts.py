"""Each layout is read as it lies on disk, and what does not fit is named."""

from collections import Counter
from pathlib import Path
from unicodedata import normalize

import pytest

from pipelines.core.errors import SourceError
from pipelines.core.records import Label, Layout, SourceRow
from pipelines.data.layouts import read_source, source_files
from pipelines.data.layouts.unused import find_unused
from tests.conftest import REAL as DATA


def _tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels")
    return folder


def _vsb(folder: Path, *lines: str, header: str = "image,mask,location,split,defects") -> Path:
    _tree(folder, "images/a.jpg", "images/b.jpg", "images/not listed.jpg", "masks/a.png")
    (folder / "labels.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


def _short(rows: list[SourceRow]) -> list[tuple[str, str, str | None]]:
    return [(row.path, row.label.value, row.mask) for row in rows]


def test_vsb(tmp_path: Path) -> None:
    folder = _vsb(tmp_path, "b.jpg,,1,train,", "a.jpg,a.png,0,test,1 4")
    rows = read_source(Layout.VSB, folder)
    assert _short(rows) == [("images/a.jpg", "anomalous", "masks/a.png"), ("images/b.jpg", "normal", None)]
    assert (rows[0].typed_mask, rows[0].defects[10], rows[0].declared_split, rows[0].condition) == (
        True,
        "overgrown",
        "test",
        "0",
    )
    assert source_files(Layout.VSB, folder, rows) == ["images/a.jpg", "images/b.jpg", "labels.csv", "masks/a.png"]


def test_vsb_without_split_and_masks(tmp_path: Path) -> None:
    header = "\ufeffimage,mask,location,defects"
    rows = read_source(Layout.VSB, _vsb(tmp_path, "a.jpg,,,4", "b.jpg,,,", header=header))
    assert rows[0].defects == {4: "crack"}
    assert (rows[0].typed_mask, rows[0].declared_split, rows[0].condition) == (False, None, None)


def test_magnetic_tile(tmp_path: Path) -> None:
    folder = _tree(tmp_path, "MT_Free/Imgs/n.jpg", "MT_Free/Imgs/n.png", "MT_Crack/Imgs/c.jpg", "readme.md")
    rows = read_source(Layout.MAGNETIC_TILE, folder)
    assert _short(rows) == [
        ("MT_Crack/Imgs/c.jpg", "anomalous", None),
        ("MT_Free/Imgs/n.jpg", "normal", "MT_Free/Imgs/n.png"),
    ]
    assert rows[0].defects == {1: "crack"}
    assert len(source_files(Layout.MAGNETIC_TILE, folder, rows)) == 3


def test_mvtec(tmp_path: Path) -> None:
    folder = _tree(tmp_path, "train/good/0.png", "test/good/0.png", "test/cut/0.png", "test/cut/1.png")
    _tree(folder, "ground_truth/cut/0_mask.png", "license.txt")
    rows = read_source(Layout.MVTEC, folder)
    assert _short(rows) == [
        ("test/cut/0.png", "anomalous", "ground_truth/cut/0_mask.png"),
        ("test/cut/1.png", "anomalous", None),
        ("test/good/0.png", "normal", None),
        ("train/good/0.png", "normal", None),
    ]
    assert [row.declared_split for row in rows] == ["test", "test", "test", "train"]
    assert rows[0].defects == {1: "cut"}


def test_folder(tmp_path: Path) -> None:
    folder = _tree(tmp_path, "good/1.jpg", "bad/1.jpg", "bad/deep scratch/2.jpg", "bad/dent/2.jpg")
    _tree(folder, "masks/1.png", "masks/dent/2.png", "notes.txt")
    rows = read_source(Layout.FOLDER, folder)
    assert _short(rows) == [
        ("bad/1.jpg", "anomalous", "masks/1.png"),
        ("bad/deep scratch/2.jpg", "anomalous", None),
        ("bad/dent/2.jpg", "anomalous", "masks/dent/2.png"),
        ("good/1.jpg", "normal", None),
    ]
    assert [row.defects.get(1) for row in rows] == ["defect", "deep scratch", "dent", None]
    assert "notes.txt" not in source_files(Layout.FOLDER, folder, rows)


def test_unlabelled_takes_any_name(tmp_path: Path) -> None:
    names = ["2021-04-07 21_43 exai.JPG", "Brett größe 木.tiff", "Screenshot 9.41\u202fPM.png", "no extension"]
    folder = _tree(tmp_path, *names, ".hidden.png", "annotations.json", "notes.TXT", "results/overlay.png")
    rows = read_source(Layout.UNLABELLED, folder)
    assert [row.path for row in rows] == sorted(names)
    assert {row.label for row in rows} == {Label.UNKNOWN}
    assert source_files(Layout.UNLABELLED, folder, rows) == sorted(names)


def test_missing_empty_and_other_layouts(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read_source(Layout.VSB, tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="is empty"):
        read_source(Layout.UNLABELLED, tmp_path / "empty")
    boards = _vsb(tmp_path / "boards", "a.jpg,,,")
    for layout in (Layout.FOLDER, Layout.MVTEC, Layout.MAGNETIC_TILE, Layout.UNLABELLED):
        with pytest.raises(SourceError, match=r"found images/, labels.csv, masks/\n.*looks like layout vsb"):
            read_source(layout, boards)
    sorted_by_hand = _tree(tmp_path / "hand", "good/1.jpg", "bad/2.jpg")
    with pytest.raises(SourceError, match="looks like layout folder"):
        read_source(Layout.VSB, sorted_by_hand)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a.jpg,,,,", "more than one row"),
        ("./a.jpg,,,,", "more than one row"),
        ("gone.jpg,,,,", "'images/gone.jpg' is named but not there"),
        ("b.jpg,gone.png,,,1", "'masks/gone.png' is named but not there"),
        ("../labels.csv,,,,", "leads out of the folder"),
        ("/etc/hostname,,,,", "leads out of the folder"),
        ("b.jpg,,,valid,", "has split 'valid'"),
        ("b.jpg,,,,1 11", "has the defect '11'"),
        (",a.png,,,", "names no image"),
    ],
)
def test_faults_of_a_table(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        read_source(Layout.VSB, _vsb(tmp_path, "a.jpg,,,,", line))


@pytest.mark.parametrize(
    "text",
    [
        "image;mask;location;defects\r\na.jpg;a.png;0;1,4\r\nb.jpg;;1;\r\n;;;\r\n;;;\r\n",
        "\ufeffsep=;\nImage ;Mask;Location;Defects\na.jpg;a.png;0;1 4\nb.jpg;;1;\n",
        'image,"mask",location,defects,note\na.jpg,a.png,0,"1,4","12,5 mm"\nb.jpg,,1,,\n,,,,\n',
        "image\tmask\tlocation\tdefects\na.jpg\ta.png\t0\t1 4\nb.jpg\t\t1\n\n",
        "image,mask,location,defects\ra.jpg,a.png,0,1 4\rb.jpg,,1,\r",
    ],
)
def test_tables_of_every_country_and_program_are_read(tmp_path: Path, text: str) -> None:
    folder = _vsb(tmp_path)
    (folder / "labels.csv").write_text(text, encoding="utf-8", newline="")
    rows = read_source(Layout.VSB, folder)
    assert _short(rows) == [("images/a.jpg", "anomalous", "masks/a.png"), ("images/b.jpg", "normal", None)]
    assert [row.condition for row in rows] == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,mask,location,defects\na.jpg,,12,5,\nb.jpg,,1,4\n", "row 2: 5 cells, but 4 columns"),
        ("image;mask;location;defects\n;a.png;;\n", "row 2 names no image"),
        ("sep=;\nimage;mask;location;defects\na.jpg;;;\nb.jpg;;;1,0\n", "row 4: b.jpg has the defect '0'"),
        ('image,mask,location,defects\na.jpg,,,\n"b.jpg,,,\n', "row 3 is no row of a CSV"),
        ("image,mask,mask,location,defects\na.jpg,,,,\n", "two columns 'mask'"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_the_row(tmp_path: Path, text: str, problem: str) -> None:
    folder = _vsb(tmp_path)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=problem):
        read_source(Layout.VSB, folder)


def test_table_without_columns_or_rows(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"found file, kind\n.*add image, mask, location, defects"):
        read_source(Layout.VSB, _vsb(tmp_path, "a.jpg,1", header="file,kind"))
    with pytest.raises(SourceError, match="names no image"):
        read_source(Layout.VSB, _vsb(tmp_path))
    (tmp_path / "labels.csv").write_bytes(b"image,mask,location,defects\n\xff\xfe,,,\n")
    with pytest.raises(SourceError, match="row 2 is no UTF-8 table"):
        read_source(Layout.VSB, tmp_path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    outside = _tree(tmp_path / "outside", "secret.png")
    folder = _tree(tmp_path / "inside", "1.png")
    (folder / "2.png").symlink_to(folder / "1.png")
    assert len(read_source(Layout.UNLABELLED, folder)) == 2
    (folder / "3.png").symlink_to(outside / "secret.png")
    with pytest.raises(SourceError, match=r"'3.png' leads out of the folder"):
        read_source(Layout.UNLABELLED, folder)


def test_file_name_that_no_table_can_hold(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be written into a table"):
        read_source(Layout.UNLABELLED, _tree(tmp_path, "two\nlines.png"))


def test_masks_that_fit_nothing_or_twice(tmp_path: Path) -> None:
    folder = _tree(tmp_path, "good/1.jpg", "bad/2.jpg", "masks/other.png")
    with pytest.raises(SourceError, match="none of the 1 files in masks/"):
        read_source(Layout.FOLDER, folder)
    _tree(folder, "masks/2.png", "bad/2.png")
    with pytest.raises(SourceError, match="belongs to more than one image"):
        read_source(Layout.FOLDER, folder)


def test_masks_are_found_by_the_names_that_labelling_tools_write(tmp_path: Path) -> None:
    """Endings, capitals, what tools add, and Unicode forms; the plainest name wins, what is left over is not used."""
    masks = {
        "a.jpg": "masks/a.PNG",
        "b.jpg": "masks/b.tif",
        "c.jpg": "masks/c_mask.png",
        "D.jpg": "masks/d_GT.bmp",
        "e.jpg": "masks/e.jpg.png",
        "f.jpg": "masks/f.png",
        normalize("NFD", "Äste größer.jpg"): "masks/" + normalize("NFC", "Äste größer.png"),
        "g.jpg": "bad/g_mask.png",
        "h_mask.jpg": None,
    }
    _tree(tmp_path, "good/1.jpg", *(f"bad/{image}" for image in masks), *filter(None, masks.values()))
    _tree(tmp_path, "masks/f_mask.png", "masks/f.bmp")
    rows = read_source(Layout.FOLDER, tmp_path)
    assert {row.path: row.mask for row in rows} == {
        "good/1.jpg": None,
        **{f"bad/{image}": mask for image, mask in masks.items()},
    }


def test_masks_of_the_other_layouts_are_found_by_such_names(tmp_path: Path) -> None:
    mvtec = _tree(tmp_path / "mvtec", "train/good/0.png", "test/cut/0.png", "test/cut/1.png")
    _tree(mvtec, "ground_truth/Cut/0.PNG", "ground_truth/cut/1_mask.tif")
    masks = {row.path: row.mask for row in read_source(Layout.MVTEC, mvtec)}
    assert (masks["test/cut/0.png"], masks["test/cut/1.png"]) == (
        "ground_truth/Cut/0.PNG",
        "ground_truth/cut/1_mask.tif",
    )
    tiles = _tree(tmp_path / "tiles", "MT_Free/Imgs/n.jpg", "MT_Crack/Imgs/c.jpg", "MT_Crack/Imgs/C_GT.PNG")
    assert read_source(Layout.MAGNETIC_TILE, tiles)[0].mask == "MT_Crack/Imgs/C_GT.PNG"
    table = f"image,mask,location,defects\n{normalize('NFC', 'Ä.jpg')},Ä.PNG,,1\n"
    boards = _tree(tmp_path / "boards", normalize("NFD", "images/Ä.jpg"), normalize("NFD", "masks/ä.png"))
    (boards / "labels.csv").write_text(table, encoding="utf-8")
    assert _short(read_source(Layout.VSB, boards)) == [
        (normalize("NFD", "images/Ä.jpg"), "anomalous", normalize("NFD", "masks/ä.png"))
    ]


def test_subfolders_are_read_and_equal_stems_have_their_own_masks(tmp_path: Path) -> None:
    _tree(tmp_path, "good/1.png", "good/early/1.png", "good/late/cam 2/1.png", "bad/knot/2.png", "bad/dent/2.png")
    _tree(tmp_path, "bad/knot/late/2.png", "bad/knot/2026-11/3.png", "masks/knot/2.png", "masks/dent/2.png")
    _tree(tmp_path, "masks/knot/late/2.png", "masks/3.png", "knots/4.png")
    (tmp_path / "bad/knot/more").symlink_to(tmp_path / "knots")
    (tmp_path / "bad/knot/again").symlink_to(tmp_path / "knots")
    (tmp_path / "good/round").symlink_to(tmp_path)
    rows = read_source(Layout.FOLDER, tmp_path)
    assert [(row.path, row.condition, row.mask, row.defects.get(1)) for row in rows] == [
        ("bad/dent/2.png", None, "masks/dent/2.png", "dent"),
        ("bad/knot/2.png", None, "masks/knot/2.png", "knot"),
        ("bad/knot/2026-11/3.png", None, "masks/3.png", "knot"),
        ("bad/knot/again/4.png", None, None, "knot"),
        ("bad/knot/late/2.png", "late", "masks/knot/late/2.png", "knot"),
        ("good/1.png", None, None, None),
        ("good/early/1.png", "early", None, None),
        ("good/late/cam 2/1.png", "late", None, None),
    ]
    unused = find_unused(Layout.FOLDER, tmp_path, source_files(Layout.FOLDER, tmp_path, rows))
    assert [one.names for one in unused] == [("bad/knot/more/", "good/round/")]


@pytest.mark.real
@pytest.mark.parametrize(
    ("layout", "name", "counts"),
    [
        (Layout.VSB, "wood-boards", {("normal", "train"): 300, ("normal", "test"): 100, ("anomalous", "test"): 220}),
        (Layout.MAGNETIC_TILE, "magnetic-tile", {("normal", None): 220, ("anomalous", None): 192}),
        (Layout.UNLABELLED, "wood-slices/raw", {("unknown", None): 6}),
    ],
)
def test_real_data_sets(layout: Layout, name: str, counts: dict[tuple[str, str | None], int]) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real images at {DATA}")
    rows = read_source(layout, DATA / name)
    assert Counter((row.label.value, row.declared_split) for row in rows) == counts
