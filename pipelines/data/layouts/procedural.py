"""Layout `procedural`: images drawn from a seed, their masks, and a table of both."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from pipelines.core.errors import SourceError
from pipelines.core.files import read_at_most, write_whole
from pipelines.core.parsing import first_fault, parse_json
from pipelines.core.paths import inside
from pipelines.core.progress import track
from pipelines.core.records import Label, SourceRow
from pipelines.core.surface_settings import ProceduralSettings
from pipelines.data.layouts.table import MOST_TABLE
from pipelines.imaging.procedural import DEFECTS, DRAWING, check_look, draw, light_of

_COLUMNS = ("image", "mask", "condition", "defects")
_DRAWN_NAME = re.compile(rf"\.?({'|'.join(DEFECTS)})-(defect-)?\d{{4,}}\.png")
_HINT = "let knotwatch draw the data set again, or restore the folder from DVC"


@dataclass(frozen=True)
class _PlannedImage:
    """What one file shows; it depends on the seed and the number within its series, never on the counts."""

    name: str
    seed: int
    defects: tuple[str, ...]


def write_procedural(settings: ProceduralSettings, folder: Path) -> None:
    """Draw a data set: images/, masks/ (of the defective), labels.csv and defects.json.

    Files that are there from an earlier call with the same look are kept, so that larger counts only add files;
    those that the settings no longer name are removed. The table is written last: a folder without one is unfinished.

    Args:
        settings: Counts of images, sizes in pixels, seed, material and look; equal ones draw equal files.
        folder: Where the data set goes, made where it is absent; foreign files in it are left alone.

    Raises:
        CallError: If the material does not know the look.
    """
    check_look(settings.material, settings.look)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").unlink(missing_ok=True)
    look = settings.model_dump(mode="json", exclude={"normal", "defective"}, exclude_none=True) | {"drawing": DRAWING}
    _drop_other_looks(folder, look)
    pictures = list(_pictures(settings))
    _drop_surplus(folder, {picture.name for picture in pictures})
    seen = track(pictures, len(pictures), f"Drawing {settings.material}")
    rows = [_write_picture(settings, picture, folder) for picture in seen]
    names = {str(number): name for number, name in DEFECTS[settings.material].items()}
    write_whole(folder / "defects.json", json.dumps(names, indent=2) + "\n")
    lines = [",".join(_COLUMNS), *(",".join(row) for row in rows)]
    write_whole(folder / "labels.csv", "\n".join(lines) + "\n")


def read_procedural(folder: Path) -> list[SourceRow]:
    """Read a drawn data set; paths are relative to `folder`, `defects` holds the types that the image shows.

    Raises:
        SourceError: where the tables are missing or unreadable, or name a file that is not there.
    """
    table, types = folder / "labels.csv", folder / "defects.json"
    for path in (table, types):
        if not path.is_file():
            raise SourceError(f"{path} is missing: expected images/, masks/, labels.csv and defects.json", hint=_HINT)
    try:
        names = {int(number): str(name) for number, name in parse_json(read_at_most(types, 1e6)).items()}
        lines = io.StringIO(read_at_most(table, MOST_TABLE).decode("utf-8"), newline="")
        return [_read_row(folder, row, names) for row in csv.DictReader(lines)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else repr(error)
        raise SourceError(f"{folder}: labels.csv or defects.json is damaged ({fault})", hint=_HINT) from error


def _read_row(folder: Path, row: dict[str, str], names: dict[int, str]) -> SourceRow:
    missing = [row[key] for key in ("image", "mask") if row[key] and not inside(folder, row[key]).is_file()]
    if missing:
        raise SourceError(f"{folder / missing[0]} is missing, but labels.csv names it", hint=_HINT)
    defects = {int(number): names[int(number)] for number in row["defects"].split()}
    return SourceRow(
        path=row["image"],
        label=Label.ANOMALOUS if defects else Label.NORMAL,
        mask=row["mask"] or None,
        typed_mask=True,
        defects=defects,
        condition=row["condition"] or None,
    )


def _pictures(settings: ProceduralSettings) -> Iterator[_PlannedImage]:
    types = tuple(DEFECTS[settings.material].values())
    for series, kind, count in ((0, "", settings.normal), (1, "defect-", settings.defective)):
        for number in range(1, count + 1):
            rng = np.random.default_rng([settings.seed % 2**63, series, number])
            extra = rng.integers(0, len(types), rng.choice(3, p=(0.65, 0.25, 0.1)))
            # The first type goes round, so that even a small set holds every type.
            shown = ((number - 1) % len(types), *extra) if series else ()
            name = f"{settings.material}-{kind}{number:04d}.png"
            yield _PlannedImage(name, int(rng.integers(2**62)), tuple(types[i] for i in shown))


def _write_picture(settings: ProceduralSettings, picture: _PlannedImage, folder: Path) -> tuple[str, str, str, str]:
    """Draw one picture unless it is there, and return its row of the table."""
    image = folder / "images" / picture.name
    mask = folder / "masks" / picture.name
    if not image.is_file() or (picture.defects and not mask.is_file()):
        drawn = draw(
            settings.material, picture.seed, settings.height, settings.width, picture.defects, look=settings.look
        )
        if picture.defects:
            write_whole(mask, _png(drawn.mask))
        write_whole(image, _png(drawn.image))
    light = light_of(picture.seed)
    if not picture.defects:
        return f"images/{picture.name}", "", light, ""
    # A defect may hide another: the mask says what is seen.
    with Image.open(mask) as stored:
        numbers = [str(number) for number in np.unique(np.asarray(stored)) if number]
    return f"images/{picture.name}", f"masks/{picture.name}", light, " ".join(numbers)


def _drop_other_looks(folder: Path, look: dict[str, Any]) -> None:
    """Remove drawn files that other settings or an older way of drawing made, and note the look of those to come."""
    note = folder / "drawn.json"
    text = json.dumps(look, indent=2, sort_keys=True) + "\n"
    if not note.is_file() or note.read_text(encoding="utf-8") != text:
        _drop_surplus(folder, set())
        write_whole(note, text)


def _drop_surplus(folder: Path, named: set[str]) -> None:
    """Remove drawn pictures that are not named, and what a killed run left of one."""
    for part in ("images", "masks"):
        for path in (folder / part).iterdir():
            if _DRAWN_NAME.match(path.name) and path.name not in named:
                path.unlink()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    data = BytesIO()
    Image.fromarray(pixels).save(data, format="PNG", compress_level=6)
    return data.getvalue()
