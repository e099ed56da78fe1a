"""Layout `magnetic-tile`: MT_Free and MT_<defect> folders, a PNG mask beside each JPEG."""

from pathlib import Path

from pipelines.core.records import Label, SourceRow
from pipelines.data.layouts.listing import folders, image_files, layout_error, relative
from pipelines.data.layouts.masks import Masks

_FREE = "MT_Free"


def read_magnetic_tile(folder: Path) -> list[SourceRow]:
    """Read every MT_*/Imgs; the folder names the defect. The masks of normals, all zero, are passed along."""
    kinds = [kind for kind in folders(folder) if kind.name.startswith("MT_") and (kind / "Imgs").is_dir()]
    if _FREE not in {kind.name for kind in kinds}:
        raise layout_error(folder, "magnetic-tile", "MT_Free/Imgs and folders such as MT_Crack/Imgs")
    files = [file for kind in kinds for file in image_files(kind / "Imgs")]
    masks = Masks([file for file in files if not _is_jpeg(file)], folder)
    rows = [_read_image(file, folder, masks) for file in files if _is_jpeg(file)]
    if not rows:
        raise layout_error(folder, "magnetic-tile", "JPEG files in MT_*/Imgs")
    return sorted(rows, key=lambda row: row.path)


def _is_jpeg(file: Path) -> bool:
    return file.suffix.lower() in {".jpg", ".jpeg"}


def _read_image(image: Path, folder: Path, masks: Masks) -> SourceRow:
    kind = image.parent.parent.name
    mask = masks.find(image, [relative(image.parent, folder)])
    normal = kind == _FREE
    return SourceRow(
        path=relative(image, folder),
        label=Label.NORMAL if normal else Label.ANOMALOUS,
        mask=relative(mask, folder) if mask else None,
        defects={} if normal else {1: kind.removeprefix("MT_").lower()},
    )
