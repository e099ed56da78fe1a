"""The manifest as a table: its columns, and the file that it lies in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from pipelines.errors import ToolError
from pipelines.files import write_whole
from pipelines.inside import check_name
from pipelines.parsing import first_fault, parse_json
from pipelines.records import MaskValue

_DEFECTS = TypeAdapter(dict[MaskValue, str])
_INTEGERS = ("bytes", "width", "height", "bit_depth", "orientation", "arrival")
_FLOATS = ("brightness_mean", "brightness_std", "sharpness", "saturated_share", "mask_area")
COLUMNS = (
    *("path", "sha256", "bytes", "error", "width", "height", "mode", "bit_depth", "orientation", "phash"),
    *("brightness_mean", "brightness_std", "sharpness", "saturated_share"),
    *("mask", "mask_sha256", "mask_error", "mask_area", "label", "defects", "typed_mask", "condition", "split"),
    *("duplicate_of", "near_duplicate_of", "group", "part"),
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
    """Write CSV, whole or not at all; equal manifests give equal bytes. Figures were rounded when measured."""
    write_whole(path, frame.loc[:, list(COLUMNS)].to_csv(index=False, lineterminator="\n"))


def read_manifest(path: Path) -> pd.DataFrame:
    """Read a manifest with the types that it was written with.

    Raises:
        ToolError: where it is missing, or has other columns.
    """
    try:
        frame = pd.read_csv(
            path, dtype=_TYPES, keep_default_na=False, na_values={name: [""] for name in _FLOATS}, encoding="utf-8"
        )
        if tuple(frame.columns) != COLUMNS:
            raise ToolError(f"{path} has other columns than a manifest of this version", cure=_CURE)
        for name in (*frame["path"], *(mask for mask in frame["mask"] if mask)):
            check_name(name)
        for defects in set(frame["defects"]):
            _DEFECTS.validate_python(parse_json(defects or "{}"))
    except ValidationError as error:
        raise ToolError(f"{path} cannot be read as a manifest: {first_fault(error)}", cure=_CURE) from error
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ToolError(f"{path} cannot be read as a manifest: {error}", cure=_CURE) from error
    return frame


_CURE = "run `knotwatch data update`, which measures the photographs again"
