"""The manifest: one row an image, with all that was measured of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.config import ValidationSettings
from pipelines.errors import ImageError
from pipelines.imaging.decoding import Decoded, decode_mask, decode_photograph
from pipelines.imaging.measures import measure_photograph
from pipelines.parsing import parse_json
from pipelines.progress import track
from pipelines.records import SourceRow
from pipelines.sources.grouping import assign_groups
from pipelines.sources.parting import assign_parts
from pipelines.sources.reviews import Reviewed, raw_file
from pipelines.sources.table import as_manifest, read_manifest, write_manifest

__all__ = ["assign_groups", "assign_parts", "measure_rows", "read_manifest", "write_manifest"]

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
    """Measure every image once, in the order of `rows`; grouping and parting come after.

    `reviews` maps the SHA-256 of a photograph to what people said of it, which overrules its row.

    Figures of `known` are taken over where photograph and mask have the same SHA-256, so that the result is the same
    as without `known`. A file that cannot be used raises nothing: the reason stands in `error` or `mask_error`.
    """
    before = {} if known is None else {str(row["path"]): row for row in known.to_dict(orient="records")}
    measured = [
        _measure(row, folder, settings, before.get(row.path), reviews or {})
        for row in track(rows, len(rows), "measure photographs")
    ]
    return as_manifest(measured)


def _measure(
    row: SourceRow,
    folder: Path,
    settings: ValidationSettings,
    known: Mapping[Any, Any] | None,
    reviews: Mapping[str, Reviewed],
) -> dict[str, Any]:
    photograph, error = _read(raw_file(folder, row.path))
    sha256 = _sha256(photograph)
    if sha256 in reviews and row.path != reviews[sha256].image:
        row = reviews[sha256].over(row)
    mask, mask_error = _read(raw_file(folder, row.mask)) if row.mask else (b"", "")
    facts: dict[str, Any] = {
        "path": row.path,
        "sha256": sha256,
        "bytes": len(photograph),
        "error": error,
        "mask": row.mask or "",
        "mask_sha256": _sha256(mask) if row.mask and not mask_error else "",
        "mask_error": mask_error,
        "label": row.label.value,
        "defects": _as_json({} if row.typed_mask else row.defects),
        "typed_mask": row.typed_mask,
        "condition": row.condition or "",
        "split": row.split or "",
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
        decoded = decode_photograph(photograph, settings.max_megapixels)
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
        **asdict(measure_photograph(decoded.image)),
    }


def _measure_mask(data: bytes, photograph: Decoded, row: SourceRow) -> dict[str, Any]:
    try:
        mask = decode_mask(data, photograph)
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


def _read(path: Path) -> tuple[bytes, str]:
    try:
        return path.read_bytes(), ""
    except OSError as error:
        return b"", f"file cannot be read: {error.strerror}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _as_json(defects: Mapping[int, str]) -> str:
    return json.dumps({str(value): defects[value] for value in sorted(defects)}, ensure_ascii=False)
