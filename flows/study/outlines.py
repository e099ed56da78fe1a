"""Outlines of defects that a person drew: annotations.json beside a folder of images."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.core.errors import SourceError
from pipelines.core.files import write_whole
from pipelines.core.parsing import first_fault
from pipelines.core.paths import InsidePath, inside
from pipelines.core.records import Record

# Pixels; a corner may lie a little outside. cv2 counts in 32 bits.
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Outlines = Mapping[str, tuple["Outline", ...]]


class Outline(Record):
    """One defect: its type, and its corners (x, y) in pixels of the image."""

    label: str
    polygon: tuple[tuple[Coordinate, Coordinate], ...] = Field(min_length=3)


class _File(BaseModel):
    """What is read of the file; it may say more, such as who drew the outlines."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    images: dict[InsidePath, tuple[Outline, ...]]


def read_outlines(file: Path, images: Path) -> Outlines:
    """Read the outlines of images, by their file names.

    Args:
        file: JSON as `write_outlines` writes it; keys beside `images` are ignored. It need not be there.
        images: Folder that the names are relative to.

    Returns:
        Outlines in pixels of the images, by name; no entry for an image without any, and empty without a file.

    Raises:
        SourceError: If the file is damaged, or names an image that is not in the folder.
    """
    if not file.is_file():
        return {}
    try:
        found = _File.model_validate_json(file.read_bytes()).images
    except (ValidationError, OSError) as error:
        raise SourceError(
            f"{file} holds no outlines: {first_fault(error) if isinstance(error, ValidationError) else error.strerror}",
            hint='expected {"images": {"NAME.jpg": [{"label": "knot", "polygon": [[x, y], ...]}]}}; move it away to go '
            "without",
        ) from error
    missing = sorted(name for name in found if not inside(images, name).is_file())
    if missing:
        raise SourceError(
            f"{file} names '{missing[0]}', which is not in {images}", hint="correct the name, or remove its entry"
        )
    return {name: outlines for name, outlines in sorted(found.items()) if outlines}


def write_outlines(file: Path, outlines: Mapping[str, Sequence[Outline]]) -> None:
    """Write what `read_outlines` reads.

    Args:
        file: Replaced whole, or left as it is.
        outlines: By image name, in pixels of the image.
    """
    images = {name: [outline.model_dump(mode="json") for outline in found] for name, found in outlines.items()}
    write_whole(file, json.dumps({"images": images}, indent=1) + "\n")
