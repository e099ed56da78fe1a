"""Layout `mvtec`: train/good, test/good, test/<defect>, ground_truth/<defect>, as MVTec AD lies on disk."""

from pathlib import Path

from pipelines.core.records import Label, SourceRow
from pipelines.data.layouts.listing import folders, image_files, layout_error, relative
from pipelines.data.layouts.masks import Masks


def read_mvtec(folder: Path) -> list[SourceRow]:
    """Read train and test; the split comes from the folders, the defect's name from the folder under test."""
    trained, tested = image_files(folder / "train/good"), folders(folder / "test")
    if not trained or not tested:
        raise layout_error(folder, "mvtec", "images in train/good and folders in test")
    rows = [SourceRow(path=relative(p, folder), label=Label.NORMAL, declared_split="train") for p in trained]
    truth = folder / "ground_truth"
    masks = Masks([mask for kind in folders(truth) for mask in image_files(kind)], truth)
    rows += [_read_test(image, kind.name, folder, masks) for kind in tested for image in image_files(kind)]
    return sorted(rows, key=lambda row: row.path)


def _read_test(image: Path, kind: str, folder: Path, masks: Masks) -> SourceRow:
    path = relative(image, folder)
    if kind == "good":
        return SourceRow(path=path, label=Label.NORMAL, declared_split="test")
    mask = masks.find(image, [kind])
    return SourceRow(
        path=path,
        label=Label.ANOMALOUS,
        mask=relative(mask, folder) if mask else None,
        defects={1: kind},
        declared_split="test",
    )
