"""The manifest: one row an image, with all that was measured of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from pipelines.core.errors import ImageError, ToolError
from pipelines.core.files import write_whole
from pipelines.core.parsing import first_fault, parse_json
from pipelines.core.paths import check_name
from pipelines.core.progress import track
from pipelines.core.records import MaskValue, SourceRow, Split
from pipelines.core.surface_settings import ValidationSettings
from pipelines.data.review_ledger import Reviewed, raw_file
from pipelines.data.splits.assign import assign_splits
from pipelines.data.splits.groups import assign_groups
from pipelines.imaging.decoding import Decoded, decode_image, decode_mask, read_image_file
from pipelines.imaging.measures import measure_image

_DEFECTS = TypeAdapter(dict[MaskValue, str])
_INTEGERS = ("bytes", "width", "height", "bit_depth", "orientation", "arrival")
_FLOATS = ("brightness_mean", "brightness_std", "sharpness", "saturated_share", "mask_area")
COLUMNS = (
    *("path", "sha256", "bytes", "error", "width", "height", "mode", "bit_depth", "orientation", "phash"),
    *("brightness_mean", "brightness_std", "sharpness", "saturated_share"),
    *("mask", "mask_sha256", "mask_error", "mask_area", "label", "defects", "typed_mask", "condition"),
    *("declared_split", "duplicate_of", "near_duplicate_of", "group", "split"),
)
_TYPES = {
    name: "int64" if name in _INTEGERS else "float64" if name in _FLOATS else "bool" if name == "typed_mask" else "str"
    for name in (*COLUMNS, "arrival")  # which is not stored: how images came is not part of the data
}


def as_manifest(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Make a manifest of rows; what a row does not say is 0, NaN or an empty text."""
    blank = {"int64": 0, "float64": float("nan"), "bool": False, "str": ""}
    columns = {name: [row.get(name, blank[kind]) for row in rows] for name, kind in _TYPES.items()}
    return pd.DataFrame({name: pd.Series(values, dtype=_TYPES[name]) for name, values in columns.items()})


def write_manifest(frame: pd.DataFrame, path: Path) -> None:
    """Write a manifest as CSV, whole or not at all; equal manifests give equal bytes.

    Args:
        frame: Has at least the columns of `COLUMNS`; others, such as `arrival`, are not written. Figures were
            rounded when measured.
        path: The CSV file; folders above it are made.
    """
    write_whole(path, frame.loc[:, list(COLUMNS)].to_csv(index=False, lineterminator="\n"))


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest with the types that it was written with.

    Raises:
        ToolError: where it is missing, or has other columns.
    """
    try:
        frame = pd.read_csv(
            path,
            dtype={**_TYPES, "part": "str"},
            keep_default_na=False,
            na_values={name: [""] for name in _FLOATS},
            encoding="utf-8",
        )
        if "part" in frame.columns:
            frame = _rename_former(frame)
        if tuple(frame.columns) != COLUMNS:
            raise ToolError(f"{path} has other columns than a manifest of this version", hint=_HINT)
        for name in (*frame["path"], *(mask for mask in frame["mask"] if mask)):
            check_name(name)
        for defects in set(frame["defects"]):
            _DEFECTS.validate_python(parse_json(defects or "{}"))
    except ValidationError as error:
        raise ToolError(f"{path} cannot be read as a manifest: {first_fault(error)}", hint=_HINT) from error
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ToolError(f"{path} cannot be read as a manifest: {error}", hint=_HINT) from error
    return frame


def _rename_former(frame: pd.DataFrame) -> pd.DataFrame:
    """Read the columns, and their words, of a manifest that was written when a split was called a part."""
    renamed = frame.rename(columns={"split": "declared_split", "part": "split"})
    return renamed.assign(
        split=[Split(name).value for name in renamed["split"]],
        declared_split=renamed["declared_split"].replace("only calibrate", "only calibration"),
    )


_HINT = "run `knotwatch data update`, which measures the images again"

__all__ = ["assign_groups", "assign_splits", "measure_rows", "read_manifest", "write_manifest"]

_MEASURED = (
    *("width", "height", "mode", "bit_depth", "orientation", "phash"),
    *("brightness_mean", "brightness_std", "sharpness", "saturated_share", "mask_area"),
)


def measure_rows(
    rows: Sequence[SourceRow],
    folder: Path,
    settings: ValidationSettings,
    known: pd.DataFrame | None = None,
    reviews: Mapping[str, Reviewed] | None = None,
) -> pd.DataFrame:
    """Measure every image once; grouping and splitting come after.

    A file that cannot be used raises nothing: the reason stands in `error` or `mask_error`.

    Args:
        rows: Images of the source and of reviews; may be empty.
        folder: The source, which paths are relative to; those of reviews lie in the folder `ledger` beside it.
        settings: Only `max_megapixels` is used: larger images get an `error`, and are not decoded.
        known: An earlier manifest, or None. Its figures are taken over where image and mask have the same SHA-256:
            the result is the same as without.
        reviews: By the SHA-256 of an image, what was said of it in review, which overrules its row. None: no reviews.

    Returns:
        A manifest in the order of `rows`; `group` is as the layout says, `split` and duplicates are still empty.
    """
    before = {} if known is None else {str(row["path"]): row for row in known.to_dict(orient="records")}
    measured = [
        _measure(row, folder, settings, before.get(row.path), reviews or {})
        for row in track(rows, len(rows), "measure images")
    ]
    return as_manifest(measured)


def _measure(
    row: SourceRow,
    folder: Path,
    settings: ValidationSettings,
    known: Mapping[Any, Any] | None,
    reviews: Mapping[str, Reviewed],
) -> dict[str, Any]:
    image, error = _read(raw_file(folder, row.path), settings)
    sha256 = _sha256(image)
    if sha256 in reviews and row.path != reviews[sha256].image:
        row = reviews[sha256].over(row)
    mask, mask_error = _read(raw_file(folder, row.mask), settings) if row.mask else (b"", "")
    facts: dict[str, Any] = {
        "path": row.path,
        "sha256": sha256,
        "bytes": len(image),
        "error": error,
        "mask": row.mask or "",
        "mask_sha256": _sha256(mask) if row.mask and not mask_error else "",
        "mask_error": mask_error,
        "label": row.label.value,
        "defects": _as_json({} if row.typed_mask else row.defects),
        "typed_mask": row.typed_mask,
        "condition": row.condition or "",
        "declared_split": row.declared_split or "",
        "group": row.group or "",
    }
    if error:
        return facts
    if known is not None and _still_true(known, facts, row, settings):
        kept = {name: known[name] for name in _MEASURED}
        types = parse_json(known["defects"]) if row.typed_mask else {}
        return {
            **facts,
            **kept,
            **({"defects": _as_json({int(k): row.defects[int(k)] for k in types})} if types else {}),
        }
    try:
        decoded = decode_image(image, settings.max_megapixels)
    except ImageError as reason:
        return {**facts, "error": reason.problem}
    return {**facts, **_figures(decoded), **(_measure_mask(mask, decoded, row) if row.mask and not mask_error else {})}


def _still_true(
    known: Mapping[Any, Any], facts: Mapping[str, Any], row: SourceRow, settings: ValidationSettings
) -> bool:
    """Tell whether an earlier row's figures hold: the same bytes, no error then, settings and types that allow it."""
    same = all(known[name] == facts[name] for name in ("sha256", "mask_sha256", "typed_mask"))
    if not same or known["error"] or known["mask_error"] or facts["mask_error"]:
        return False
    types = {int(value) for value in parse_json(known["defects"])} if row.typed_mask else set()
    return bool(known["width"] * known["height"] <= settings.max_megapixels * 1e6 and types <= row.defects.keys())


def _figures(decoded: Decoded) -> dict[str, Any]:
    height, width = decoded.image.shape[:2]
    return {
        "width": width,
        "height": height,
        "mode": decoded.mode,
        "bit_depth": decoded.bit_depth,
        "orientation": decoded.orientation,
        **asdict(measure_image(decoded.image)),
    }


def _measure_mask(data: bytes, image: Decoded, row: SourceRow) -> dict[str, Any]:
    try:
        mask = decode_mask(data, image)
    except ImageError as reason:
        return {"mask_error": reason.problem}
    found = {"mask_area": float(f"{np.mean(mask > 0):.6g}")}
    if not row.typed_mask:
        return found
    values = [int(value) for value in np.unique(mask) if value]
    unknown = [value for value in values if value not in row.defects]
    if unknown:
        known = ", ".join(str(value) for value in sorted(row.defects))
        return {**found, "mask_error": f"mask holds the value {unknown[0]}, which is no defect type (known: {known})"}
    return {**found, "defects": _as_json({value: row.defects[value] for value in values})}


def _read(path: Path, settings: ValidationSettings) -> tuple[bytes, str]:
    try:
        return read_image_file(path, settings.max_megapixels), ""
    except ImageError as error:
        return b"", error.problem


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _as_json(defects: Mapping[int, str]) -> str:
    return json.dumps({str(value): defects[value] for value in sorted(defects)}, ensure_ascii=False)
