"""Layout `magnetic-tile`: MT_Free and MT_<defect> folders, a PNG mask beside each JPEG."""

from pathlib import Path

from pipelines.core.records import Label, SourceRow
from pipelines.data.layouts.listing import folders, image_files, layout_error, relative

_FREE = "MT_Free"


def read_magnetic_tile(folder: Path) -> list[SourceRow]:
    """Read every MT_*/Imgs; the folder names the defect. The masks of normals, all zero, are passed along."""
    kinds = [kind for kind in folders(folder) if kind.name.startswith("MT_") and (kind / "Imgs").is_dir()]
    if _FREE not in {kind.name for kind in kinds}:
        raise layout_error(folder, "magnetic-tile", "MT_Free/Imgs and folders such as MT_Crack/Imgs")
    rows = [_read_image(image, kind.name, folder) for kind in kinds for image in _images(kind / "Imgs")]
    if not rows:
        raise layout_error(folder, "magnetic-tile", "JPEG files in MT_*/Imgs")
    return sorted(rows, key=lambda row: row.path)


def _images(folder: Path) -> list[Path]:
    return [image for image in image_files(folder) if image.suffix.lower() in {".jpg", ".jpeg"}]


def _read_image(image: Path, kind: str, folder: Path) -> SourceRow:
    mask = image.with_suffix(".png")
    normal = kind == _FREE
    return SourceRow(
        path=relative(image, folder),
        label=Label.NORMAL if normal else Label.ANOMALOUS,
        mask=relative(mask, folder) if mask.is_file() else None,
        defects={} if normal else {1: kind.removeprefix("MT_").lower()},
    )
