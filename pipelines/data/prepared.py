"""The prepared images of a surface: what later stages read instead of images."""

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError

from pipelines.core.errors import ToolError
from pipelines.core.files import write_whole
from pipelines.core.geometry import Box, ReadBox
from pipelines.core.parsing import first_fault, parse_json
from pipelines.core.paths import InsidePath, inside
from pipelines.core.records import Label, MaskValue, Record, Side, Split


class PreparedImage(Record):
    """One image cut to its region of interest.

    `file` and `mask` are relative to the prepared folder; the mask keeps the image's own size. `width` and
    `height` are the image's. `defects` maps the mask's values to types. `key` changes with anything that
    the prepared file depends on, `digest` is the hash of the prepared file and mask themselves. `rejected` are boxes,
    in pixels of the image, of what a reviewer called a false alarm.
    """

    former: ClassVar[Mapping[str, str]] = {"part": "split"}

    path: InsidePath
    file: InsidePath
    mask: InsidePath | None
    left: int = Field(ge=0)
    top: int = Field(ge=0)
    right: Side
    bottom: Side
    width: Side
    height: Side
    split: Split
    label: Label
    defects: dict[MaskValue, str]
    condition: str | None
    group: str
    key: str
    digest: str = ""
    rejected: tuple[ReadBox, ...] = ()

    @property
    def box(self) -> Box:
        return Box(self.left, self.top, self.right, self.bottom)


def without_anomalies(images: Sequence[PreparedImage], split: Split) -> list[PreparedImage]:
    """Choose a split's images that nobody called anomalous, in their order.

    Args:
        images: All of the surface; those of other splits are left out.
        split: The split to choose from.

    Returns:
        The images; unlabelled ones are among them, because some of those that an adaptation holds out may be.
    """
    return [image for image in images if image.split == split and image.label != Label.ANOMALOUS]


def write_index(folder: Path, images: Sequence[PreparedImage]) -> None:
    """Write index.csv, one row an image, in the order of paths.

    Args:
        folder: The prepared folder, made where it is absent; an index there is replaced whole.
        images: All prepared images, in any order; may be empty.
    """
    rows = [
        {
            **image.model_dump(mode="json"),
            "defects": json.dumps(image.defects, sort_keys=True),
            "rejected": json.dumps(image.rejected),
        }
        for image in sorted(images, key=lambda i: i.path)
    ]
    frame = pd.DataFrame(rows, columns=list(PreparedImage.model_fields))
    write_whole(folder / "index.csv", frame.to_csv(index=False, lineterminator="\n"))


def read_index(folder: Path) -> list[PreparedImage]:
    """Read index.csv back; raise ToolError where preprocessing has not run, or the table is damaged."""
    if not (folder / "index.csv").is_file():
        raise ToolError(f"no prepared images at {folder}", hint="run `dvc repro`, or `knotwatch retrain SURFACE`")
    try:
        frame = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False, encoding="utf-8")
        return [_as_image(row) for row in frame.to_dict(orient="records")]
    except (ValueError, KeyError, TypeError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else repr(error)
        raise ToolError(
            f"{folder / 'index.csv'} is damaged ({fault})", hint="remove that file, then run `knotwatch data update`"
        ) from error


def _as_image(row: Mapping[Hashable, Any]) -> PreparedImage:
    known = {k: v for k, v in row.items() if k in PreparedImage.model_fields or k in PreparedImage.former}
    return PreparedImage.model_validate(
        {
            **known,
            "mask": row["mask"] or None,
            "condition": row["condition"] or None,
            "defects": parse_json(row["defects"]),
            "rejected": parse_json(row.get("rejected") or "[]"),  # indexes before these were kept have no such column
        }
    )


def read_region(folder: Path, image: PreparedImage) -> NDArray[np.uint8]:
    """Read an image's region of interest.

    Args:
        folder: The prepared folder, which `image.file` is relative to.
        image: A row of its index.

    Returns:
        RGB pixels, uint8, shape (height, width, 3) of `image.box`.

    Raises:
        PathError: If the file's name leads out of the folder.
    """
    with Image.open(inside(folder, image.file)) as file:
        return np.asarray(file.convert("RGB"))


def read_mask(folder: Path, image: PreparedImage) -> NDArray[np.uint8]:
    """Read the mask of a whole image, not of its region of interest alone.

    Args:
        folder: The prepared folder, which `image.mask` is relative to.
        image: A row of its index; `defects` tells the types by the mask's values.

    Returns:
        uint8, shape (height, width) of the image; 0 is normal, and all of it where there is no mask.

    Raises:
        PathError: If the mask's name leads out of the folder.
    """
    if image.mask is None:
        return np.zeros((image.height, image.width), np.uint8)
    with Image.open(inside(folder, image.mask)) as file:
        return np.asarray(file)
