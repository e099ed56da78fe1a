"""One adapter per layout: a folder on disk becomes rows of images."""

from collections import Counter
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from pipelines.core.errors import SourceError
from pipelines.core.parsing import first_fault
from pipelines.core.records import Layout, SourceRow

# Adapters are imported when they are requested: the command line must answer at once.
_READERS = {
    Layout.VSB: "vsb",
    Layout.MAGNETIC_TILE: "magnetic_tile",
    Layout.MVTEC: "mvtec",
    Layout.FOLDER: "folder",
    Layout.UNLABELLED: "unlabelled",
    Layout.PROCEDURAL: "procedural",
}
# What an adapter reads besides the images and masks that its rows name.
_TABLES = {Layout.VSB: ("labels.csv",), Layout.PROCEDURAL: ("labels.csv", "defects.json", "drawn.json")}


def read_source(layout: Layout, folder: Path) -> list[SourceRow]:
    """Read a data set as its layout describes it.

    Args:
        layout: Which adapter reads the folder.
        folder: The data set; it is only read.

    Returns:
        One row an image, at least one, in the order of paths.

    Raises:
        SourceError: If the folder does not lie as the layout says, holds no image, names one twice, or names
            a file that is missing or lies outside.
    """
    from pipelines.data.layouts.listing import check_inside, require_folder

    require_folder(folder)
    name = _READERS[layout]
    try:
        rows: list[SourceRow] = getattr(import_module(f"pipelines.data.layouts.{name}"), f"read_{name}")(folder)
    except ValidationError as error:
        raise SourceError(f"{folder}: {first_fault(error)}", hint="rename the file, or correct its row") from error
    check_inside(folder, [file for row in rows for file in (row.path, row.mask) if file])
    _check_unshared(folder, [row.mask for row in rows if row.mask])
    return sorted(rows, key=lambda row: row.path)


def has_table(layout: Layout) -> bool:
    """Tell whether a table says what belongs to a data set of that layout."""
    return layout in _TABLES


def source_files(layout: Layout, folder: Path, rows: list[SourceRow]) -> list[str]:
    """List every file that the data set consists of, and nothing else.

    Args:
        layout: Tells which tables belong to it.
        folder: The data set; tables count where they are there.
        rows: What `read_source` returned for it.

    Returns:
        POSIX paths relative to `folder`, sorted, each once: tables, images and masks.

    >>> boards = [SourceRow(path="bad/b.png", label="anomalous", mask="masks/b.png")]
    >>> source_files(Layout.FOLDER, Path("boards"), boards)
    ['bad/b.png', 'masks/b.png']
    """
    tables = [name for name in _TABLES.get(layout, ()) if (folder / name).is_file()]
    return sorted({*tables, *(row.path for row in rows), *(row.mask for row in rows if row.mask)})


def _check_unshared(folder: Path, masks: list[str]) -> None:
    shared = [mask for mask, times in Counter(masks).items() if times > 1]
    if shared:
        raise SourceError(
            f"{folder}: the mask {sorted(shared)[0]} belongs to more than one image",
            hint="give each image a mask of its own name, for example by renaming one of the images",
        )
