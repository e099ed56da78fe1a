"""Layout `unlabelled`: images in one folder, of which nobody said anything yet."""

from pathlib import Path

from pipelines.core.records import Label, SourceRow
from pipelines.data.layouts.listing import image_files, layout_error, relative


def read_unlabelled(folder: Path) -> list[SourceRow]:
    """Read every file directly in the folder as an image of unknown label, whatever its name.

    Left out are hidden files, and those whose extension says that they are text, tables, code or archives (.json,
    .csv, .txt, .md, .html, ...). Folders inside are not read: they may hold the results of an earlier inspection.
    """
    rows = [SourceRow(path=relative(path, folder), label=Label.UNKNOWN) for path in image_files(folder)]
    if not rows:
        raise layout_error(folder, "unlabelled", "images directly in the folder")
    return rows
