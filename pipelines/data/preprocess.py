"""Stage: prepared images from the usable images of a manifest."""

import hashlib
import io
import json
import logging
import sys
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.errors import GateError, ImageError, KnotwatchError, explain_os_error
from pipelines.core.files import write_whole
from pipelines.core.parsing import parse_json, read_record
from pipelines.core.paths import find_project, inside
from pipelines.core.progress import track
from pipelines.core.records import TYPES, Label, Record
from pipelines.core.results import ValidationReport
from pipelines.core.surface_settings import RegionSettings, read_surface
from pipelines.data.manifest import read_manifest
from pipelines.data.prepared import PreparedImage, read_index, write_index
from pipelines.data.reuse import hash_modules, keep_for_reuse, may_reuse
from pipelines.data.review_ledger import raw_file, read_reviews
from pipelines.data.type_examples import prepare_types
from pipelines.imaging.decoding import decode_image, decode_mask
from pipelines.imaging.roi import find_region

_CODE = hash_modules(
    "pipelines.data.preprocess",
    *(f"pipelines.imaging.{name}" for name in ("decoding", "depth", "roi", "measures")),
)

log = logging.getLogger(__name__)


class Preprocessed(Record):
    """What one run of the stage did."""

    images: int
    prepared: int
    removed: int
    seconds: float


def preprocess(
    manifest: pd.DataFrame,
    verdict: ValidationReport,
    source: Path,
    region: RegionSettings,
    max_megapixels: float,
    out: Path,
    ledger: Path | None = None,
) -> Preprocessed:
    """Cut, convert and write each usable image; reuse what is there, delete what the manifest no longer names.

    Args:
        manifest: All images of the surface, with splits.
        verdict: Validation's word on it; what it quarantined, and copies, are left out.
        source: The surface's raw images, which the manifest's paths are relative to.
        region: The rule for the region of interest.
        max_megapixels: Largest image that is decoded, in millions of pixels.
        out: The prepared folder: images/, masks/, types/ and index.csv. Every other file in it is removed.
        ledger: Holds example crops of defect types, which are prepared beside the images, and what reviewers rejected.
            None: there are neither.

    Returns:
        Counts of images, and how many were prepared anew; `removed` counts files.

    Raises:
        GateError: If the verdict stops the run.
        ImageError: If a fixed region lies outside of an image, or a file is not as it was when measured.
    """
    if not verdict.accepted:
        raise GateError(
            "validation stopped this data: " + "; ".join(verdict.reasons),
            hint=f"{verdict.advice}; `knotwatch data show` lists the files; then `knotwatch data update`",
        )
    started = time.monotonic()
    left_out = {q.path for q in (*verdict.quarantined, *verdict.duplicates)}
    rows = [row for row in manifest.to_dict(orient="records") if row["path"] not in left_out]
    current = _keep_current(out, {row["path"]: _key(row, region) for row in rows})
    with ThreadPoolExecutor(2) as pool:
        work = pool.map(lambda row: _prepare(row, source, region, max_megapixels, out, current.get(row["path"])), rows)
        images = list(track(work, len(rows), "prepare"))
    rejected = {review.sha256: review.rejected for review in read_reviews(ledger)} if ledger else {}
    boxes = {row["path"]: rejected.get(row["sha256"], ()) for row in rows}
    images = [image.model_copy(update={"rejected": boxes[image.path]}) for image in images]
    _write_index(out, images)
    crops = prepare_types(ledger / TYPES, out / TYPES, max_megapixels) if ledger else set()
    removed = _remove_unnamed(out, images, crops)
    return Preprocessed(
        images=len(images),
        prepared=len(images) - len(current),
        removed=removed,
        seconds=time.monotonic() - started,
    )


def _keep_current(out: Path, keys: Mapping[str, str]) -> dict[str, PreparedImage]:
    """Return the prepared images that are still right, and take the others out of the index.

    Before any file is overwritten: else a run that is killed would leave an index that names other pixels.
    """
    known = read_index(out) if may_reuse(out / "index.csv", _note(out), _CODE) else []
    current = [i for i in known if i.key == keys.get(i.path) and _is_whole(out, i)]
    _write_index(out, current)
    return {i.path: i for i in current}


def _write_index(out: Path, images: Sequence[PreparedImage]) -> None:
    write_index(out, images)
    keep_for_reuse(out / "index.csv", _note(out), _CODE)


def _note(out: Path) -> Path:
    return out.with_name(f"{out.name}.made-by.json")


def _is_whole(out: Path, image: PreparedImage) -> bool:
    """Tell whether the prepared files are there and hold what was written: nobody edited them since."""
    files = [inside(out, name) for name in (image.file, image.mask) if name]
    return all(file.is_file() for file in files) and _digest(*(file.read_bytes() for file in files)) == image.digest


def _digest(*files: bytes) -> str:
    found = hashlib.sha256()
    for data in files:
        found.update(hashlib.sha256(data).digest())
    return found.hexdigest()[:16]


def _prepared_name(folder: str, path: str) -> str:
    """Name a prepared file after its image; a name that would be too long for a file system becomes its hash."""
    name = f"{folder}/{path}.png"
    short = all(len(part.encode()) <= 255 for part in name.split("/"))
    return name if short else f"{folder}/{hashlib.sha256(path.encode()).hexdigest()[:32]}.png"


def _key(row: Mapping[Hashable, Any], region: RegionSettings) -> str:
    """Hash what the prepared files of a row depend on."""
    recipe = [row["sha256"], row["mask_sha256"] if _mask(row) else "", row["typed_mask"], region.model_dump()]
    return hashlib.sha256(json.dumps(recipe, default=str).encode()).hexdigest()[:16]


def _mask(row: Mapping[Hashable, Any]) -> str:
    """Name the mask of an anomalous image, relative to the source; empty where there is none."""
    return str(row["mask"]) if row["label"] == Label.ANOMALOUS else ""


def _prepare(
    row: Mapping[Hashable, Any],
    source: Path,
    region: RegionSettings,
    max_megapixels: float,
    out: Path,
    current: PreparedImage | None,
) -> PreparedImage:
    facts = {
        "path": row["path"],
        "split": row["split"],
        "label": row["label"],
        "defects": parse_json(row["defects"] or "{}"),
        "condition": row["condition"] or None,
        "group": row["group"],
        "key": _key(row, region),
    }
    if current is not None:
        return PreparedImage.model_validate({**current.model_dump(), **facts})
    image = decode_image(raw_file(source, row["path"]), max_megapixels)
    try:
        box = find_region(image.image, region)
    except ImageError as error:
        raise ImageError(f"{row['path']}: {error.problem}", hint=error.hint) from error
    height, width = image.image.shape[:2]
    files = {_prepared_name("images", row["path"]): image.image[box.top : box.bottom, box.left : box.right]}
    if mask := _mask(row):
        values = decode_mask(raw_file(source, mask), image)
        files[_prepared_name("masks", row["path"])] = values if row["typed_mask"] else (values > 0).astype(np.uint8)
    encoded = {name: _png(pixels) for name, pixels in files.items()}
    for name, data in encoded.items():
        write_whole(inside(out, name), data)
    names = [*encoded, None][:2]
    place = {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}
    made = {"file": names[0], "mask": names[1], "width": width, "height": height, "digest": _digest(*encoded.values())}
    return PreparedImage.model_validate({**facts, **place, **made})


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    # Level 1 is three times faster than the default and a tenth larger.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _remove_unnamed(out: Path, images: Iterable[PreparedImage], crops: set[Path]) -> int:
    named = crops | {out / name for i in images for name in (i.file, i.mask) if name}
    named.add(out / "index.csv")
    stale = [path for path in out.rglob("*") if path.is_file() and path not in named]
    for path in stale:
        path.unlink()
    return len(stale)


def main(name: str) -> None:
    """Run the stage for one surface, as dvc.yaml does."""
    project = find_project()
    paths = project.surface(name)
    settings = read_surface(project, name)
    done = preprocess(
        read_manifest(paths.manifest),
        read_record(ValidationReport, paths.verdict, "run `knotwatch data update`, which judges the images again"),
        paths.source,
        settings.region,
        settings.validation.max_megapixels,
        paths.prepared,
        paths.ledger,
    )
    log.info("preprocess %s: %d images, %d prepared, %.1f s", name, done.images, done.prepared, done.seconds)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        main(sys.argv[1])
    except KnotwatchError as error:
        sys.exit(f"{error}")
    except OSError as error:
        sys.exit(f"{explain_os_error(error)}")
