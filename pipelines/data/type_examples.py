"""Example crops of defect types: a user's folders, copied into the surface's ledger, and prepared from there."""

import hashlib
from pathlib import Path

from PIL import Image

from pipelines.core.errors import ImageError, SourceError
from pipelines.core.paths import inside
from pipelines.core.progress import track
from pipelines.core.records import NORMAL, Record
from pipelines.data.intake import copy_file
from pipelines.data.layouts.listing import check_inside, folders, image_files, relative, require_folder
from pipelines.imaging.decoding import decode_image, read_image_file
from pipelines.imaging.measures import shrink

NORMAL_WORDS = ("perfect", "good", "normal", "sound")
_SIDE = 256  # longer side of a prepared crop: twice what is looked at
_LEAST = 3


class TypesIntake(Record):
    """What was taken in: example crops by type, in all and new or changed."""

    examples: dict[str, int]
    new: int
    removed: int


def take_in_types(source: Path, kept: Path, max_megapixels: float, *, prune: bool = False) -> TypesIntake:
    """Copy folders of example crops, one a type, into the ledger.

    All are decoded before any is copied.

    Args:
        source: The user's folder, only read; its subfolders name the types. `perfect`, `good`, `normal` and `sound`
            hold what is no defect.
        kept: The ledger's folder of examples, made where it is absent.
        max_megapixels: Largest crop that is decoded, in millions of pixels.
        prune: Remove crops from `kept` that vanished at the source. By default they are kept.

    Returns:
        Counts of all crops in `kept` by type, and how many are new or changed, or were removed.

    Raises:
        SourceError: If the folder has no subfolders of crops, a type has fewer than three, or a crop cannot be read.
    """
    source = source.resolve()
    require_folder(source)
    _rename_former(kept)
    found = {file: _target(file) for place in folders(source) for file in image_files(place)}
    _check(source, found, max_megapixels)
    stale = [file for file, name in found.items() if not _same(file, inside(kept, name))]
    for file in track(stale, len(stale), "copy"):
        copy_file(file, inside(kept, found[file]))
    gone = [p for p in _files(kept) if relative(p, kept) not in set(found.values())] if prune else []
    for path in gone:
        path.unlink()
    counts = {place.name: len(image_files(place)) for place in folders(kept)}
    return TypesIntake(examples={n: c for n, c in counts.items() if c}, new=len(stale), removed=len(gone))


def _rename_former(kept: Path) -> None:
    """Give the folder of crops without a defect its present name, where it was taken in as `sound`."""
    if (kept / "sound").is_dir() and not (kept / NORMAL).exists():
        (kept / "sound").rename(kept / NORMAL)


def _type_of(name: str) -> str:
    return NORMAL if name.lower() in NORMAL_WORDS else name


def _target(file: Path) -> str:
    return f"{_type_of(file.parent.name)}/{file.name}"


def _check(source: Path, found: dict[Path, str], max_megapixels: float) -> None:
    if not found:
        raise SourceError(
            f"{source} holds no folders of crops", hint="make one folder a type, for example crack/, knot/ and normal/"
        )
    check_inside(source, [relative(file, source) for file in found])
    if len(set(found.values())) < len(found):
        raise SourceError(
            f"{source}: crops of one name lie in more than one of {', '.join(NORMAL_WORDS)}",
            hint="put normal crops into one folder",
        )
    names = [name.split("/")[0] for name in found.values()]
    for name in sorted(set(names)):
        if names.count(name) < _LEAST:
            raise SourceError(
                f"{source / name} holds {names.count(name)} crops, expected at least {_LEAST}",
                hint="add examples of this type, or move its folder away",
            )
    for file in track(sorted(found), len(found), "read crops"):
        try:
            decode_image(file, max_megapixels)
        except ImageError as error:
            raise SourceError(f"{file}: {error.problem}", hint=error.hint) from error


def _same(file: Path, copy: Path) -> bool:
    return copy.is_file() and copy.read_bytes() == file.read_bytes()


def _files(kept: Path) -> list[Path]:
    return sorted(inside(kept, relative(p, kept)) for place in folders(kept) for p in image_files(place))


def prepare_types(kept: Path, out: Path, max_megapixels: float) -> set[Path]:
    """Write each example as out/TYPE/HASH.png, upright RGB of at most 256 px.

    A file is named by its content: names of the user's may differ in case or ending alone.

    Args:
        kept: The ledger's folder of examples, one folder a type; it may be absent.
        out: Where prepared crops go, made where it is absent; other files in it are left alone.
        max_megapixels: Largest crop that is decoded, in millions of pixels.

    Returns:
        Every file of an example, below `out`.

    Raises:
        ImageError: If a crop cannot be decoded.
    """
    written = set()
    for file in _files(kept):
        data = read_image_file(file, max_megapixels)
        target = out / _type_of(file.parent.name) / f"{hashlib.sha256(data).hexdigest()[:24]}.png"
        written.add(target)
        crop = shrink(decode_image(data, max_megapixels).image, _SIDE)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        Image.fromarray(crop).save(part, "PNG", compress_level=1)
        part.replace(target)
    return written
