"""Layout `folder`: good/, bad/ and perhaps masks/, as somebody sorts images by hand."""

from pathlib import Path

from pipelines.core.errors import SourceError
from pipelines.core.records import Label, SourceRow
from pipelines.data.layouts.listing import folders, image_files, layout_error, relative


def read_folder(folder: Path) -> list[SourceRow]:
    """Read good/ and bad/; a folder in bad/ names the type of its defects.

    A mask is masks/<stem>.png, or masks/<type>/<stem>.png for bad/<type>/<stem>.*. bad/ may be absent.
    """
    good = image_files(folder / "good")
    if not good:
        raise layout_error(folder, "folder", "images in good/")
    bad = [(image, None) for image in image_files(folder / "bad")]
    typed = [(image, kind.name) for kind in folders(folder / "bad") for image in image_files(kind)]
    rows = [_read_bad(image, kind, folder) for image, kind in [*bad, *typed]]
    _check_masks_used(folder, rows)
    rows += [SourceRow(path=relative(image, folder), label=Label.NORMAL) for image in good]
    return sorted(rows, key=lambda row: row.path)


def _read_bad(image: Path, kind: str | None, folder: Path) -> SourceRow:
    flat = folder / "masks" / f"{image.stem}.png"
    nested = folder / "masks" / (kind or "") / f"{image.stem}.png"
    mask = next((path for path in (nested, flat) if path.is_file()), None)
    return SourceRow(
        path=relative(image, folder),
        label=Label.ANOMALOUS,
        mask=relative(mask, folder) if mask else None,
        defects={1: kind or "defect"},
    )


def _check_masks_used(folder: Path, rows: list[SourceRow]) -> None:
    """Refuse masks of which not one fits: they would be lost in silence."""
    places = [folder / "masks", *folders(folder / "masks")]
    masks = [mask for place in places for mask in image_files(place)]
    if masks and not any(row.mask for row in rows):
        raise SourceError(
            f"{folder}: none of the {len(masks)} files in masks/ belongs to an image in bad/, "
            f"{relative(masks[0], folder)} among them",
            hint="name them masks/<stem>.png or masks/<type>/<stem>.png after the images in bad/",
        )
