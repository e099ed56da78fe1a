"""Layout `vsb`: images/, typed masks/, and labels.csv, as the sawn boards of VSB Ostrava are shared."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipelines.core.errors import SourceError
from pipelines.core.records import Label, SourceRow
from pipelines.data.layouts.listing import find_spelling, layout_error
from pipelines.data.layouts.table import read_table

# Mask values: Kodytek, Bodzas, Bilik, F1000Research 10:581 (2021); names by frequency and appearance.
TYPES = {
    1: "live knot",
    2: "dead knot",
    3: "knot with crack",
    4: "crack",
    5: "resin",
    6: "marrow",
    7: "quartzity",
    8: "missing knot",
    9: "blue stain",
    10: "overgrown",
}
_REQUIRED = ("image", "mask", "location", "defects")


def read_vsb(folder: Path) -> list[SourceRow]:
    """Read labels.csv; a row without defects is normal, `location` is a condition, `split` may be absent.

    The table says what belongs to the data set: images that it does not name are left out. With a mask, `defects`
    holds all types, because the mask says which are there; without one, those that the row names.
    """
    table = folder / "labels.csv"
    if not table.is_file() or not (folder / "images").is_dir():
        raise layout_error(folder, "vsb", "images/ and labels.csv")
    rows = [_read_row(row.cells, f"{table}, row {row.number}") for row in read_table(table, _REQUIRED)]
    if not rows:
        raise SourceError(f"{table} names no image", hint="add a row for each image")
    rows = [row.model_copy(update=_respell(folder, row)) for row in rows]
    _check_unique(table, rows)
    return sorted(rows, key=lambda row: row.path)


def _read_row(row: Mapping[str, str], where: str) -> SourceRow:
    row = {**dict.fromkeys(_REQUIRED, ""), **row}
    if not row["image"]:
        raise SourceError(f"{where} names no image", hint="fill its image cell, or remove it")
    split = row.get("split", "")
    if split not in {"", "train", "test"}:
        raise SourceError(f"{where}: {row['image']} has split '{split}'", hint="write train or test, or leave it blank")
    named = _read_types(row["defects"], f"{where}: {row['image']}")
    return SourceRow.model_validate(
        {
            "path": str(PurePosixPath("images") / row["image"]),
            "label": Label.ANOMALOUS if named else Label.NORMAL,
            "mask": str(PurePosixPath("masks") / row["mask"]) if row["mask"] else None,
            "typed_mask": bool(row["mask"]),
            "defects": TYPES if row["mask"] else {value: TYPES[value] for value in named},
            "condition": row["location"] or None,
            "declared_split": split or None,
        }
    )


def _respell(folder: Path, row: SourceRow) -> dict[str, str | None]:
    """Name a row's files as they are spelt on disk: an archive or another system may have changed that."""
    mask = find_spelling(folder, row.mask) if row.mask else None
    return {"path": find_spelling(folder, row.path), "mask": mask}


def _read_types(cell: str, where: str) -> list[int]:
    words = cell.replace(",", " ").replace(";", " ").split()
    unknown = [word for word in words if not (word.isascii() and word.isdigit() and int(word) in TYPES)]
    if unknown:
        raise SourceError(
            f"{where} has the defect '{unknown[0]}'", hint="write numbers from 1 to 10, with blanks between"
        )
    return sorted({int(word) for word in words})


def _check_unique(table: Path, rows: list[SourceRow]) -> None:
    twice = sorted(path for path, times in Counter(row.path for row in rows).items() if times > 1)
    if twice:
        raise SourceError(
            f"{table}: {len(twice)} images have more than one row, {twice[0]} among them", hint="keep one row for each"
        )
