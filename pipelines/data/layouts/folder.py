"""Layout `folder`: good/, bad/ and perhaps masks/, as somebody sorts images by hand."""

from pathlib import Path

from pipelines.core.errors import SourceError
from pipelines.core.records import Label, SourceRow
from pipelines.data.layouts.listing import fold, images_below, layout_error, relative
from pipelines.data.layouts.masks import Masks, bare_stem


def read_folder(folder: Path) -> list[SourceRow]:
    """Read good/ and bad/ to the bottom. A folder in bad/ names the type of its defects, one in good/ a condition.

    A mask is masks/<stem>.*, or masks/<type>/<stem>.* for bad/<type>/<stem>.*; it may also lie beside its image, with
    something behind the stem. See `Masks` for the names. bad/ may be absent.
    """
    good = images_below(folder / "good", folder)
    if not good:
        raise layout_error(folder, "folder", "images in good/")
    normal = [
        SourceRow(path=relative(image, folder), label=Label.NORMAL, condition=_subfolder(image, folder / "good"))
        for image in good
    ]
    return sorted([*normal, *_read_bad(folder, {row.condition for row in normal})], key=lambda row: row.path)


def _read_bad(folder: Path, conditions: set[str | None]) -> list[SourceRow]:
    bad, place = images_below(folder / "bad", folder), folder / "masks"
    masks, beside = images_below(place, folder), _masks_beside(bad)
    find, find_beside = Masks(masks, place).find, Masks(beside, folder / "bad").find
    rows = []
    for image in bad:
        if image in beside:
            continue
        own = image.parent.relative_to(folder / "bad")
        kind = own.parts[0] if own.parts else ""
        mask = find(image, [own.as_posix(), kind or ".", "."]) or find_beside(image, [own.as_posix()])
        below = _subfolder(image, folder / "bad" / kind) if kind else None
        rows.append(
            SourceRow(
                path=relative(image, folder),
                label=Label.ANOMALOUS,
                mask=relative(mask, folder) if mask else None,
                defects={1: kind or "defect"},
                condition=below if below in conditions else None,
            )
        )
    if masks and not any(row.mask for row in rows):
        raise SourceError(
            f"{folder}: none of the {len(masks)} files in masks/ belongs to an image in bad/, "
            f"{relative(masks[0], folder)} among them",
            hint="name them after the images in bad/: masks/<stem>.png, masks/<stem>_mask.png or "
            "masks/<type>/<stem>.png",
        )
    return rows


def _masks_beside(images: list[Path]) -> set[Path]:
    """Tell files that are named after a neighbour, as in a.png and a_mask.png."""
    stems = {(image.parent, fold(image.stem)) for image in images}
    bare = {image: bare_stem(image) for image in images}
    return {image for image, stem in bare.items() if stem and (image.parent, fold(stem)) in stems}


def _subfolder(image: Path, folder: Path) -> str | None:
    """Name the first folder on the way down to an image; None where it lies directly there."""
    parts = image.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else None
