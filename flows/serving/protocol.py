"""MLflow's scoring protocol: from a request's body to encoded images.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally, "Inference Server Specification": `dataframe_split`
or `dataframe_records` with a column `image` of base64, which is how it takes a `binary` column.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.core.errors import KnotwatchError
from pipelines.core.records import Record

COLUMN = "image"
_KINDS = ("dataframe_split", "dataframe_records")
# Values and lists that a body may hold, and more for each image: as Python's objects they take twenty times their
# bytes, and nothing else runs while they are made.
_LEAST_PARTS, _PARTS = 1000, 100
_BREAKS = b" \t\r\n\v\f"


class Limits(Record):
    """What one request may bring and take, and how many may wait; together they may hold four of the largest.

    Without `megapixels` the version in use says how large an image may be; see flows/serving/pixels.py. `memory` is the
    bytes that loaded champions may take, None for any number.
    """

    images: int = 64
    megabytes: int = 100
    waiting: int = 64
    megapixels: float | None = None
    request_megapixels: float | None = None
    seconds: float = 60.0
    connections: int = 256
    memory: int | None = None

    @property
    def bytes(self) -> int:
        return self.megabytes * 10**6

    @property
    def held(self) -> int:
        return 4 * self.bytes


class ScoringRequest(NamedTuple):
    """A request's images, encoded as files are, and whether their anomaly maps are wanted."""

    images: list[bytes]
    maps: bool


class RequestError(KnotwatchError):
    """A request that cannot be answered; `status` is HTTP's and `code` MLflow's word for it."""

    def __init__(self, problem: str, *, hint: str, status: int = 400, code: str = "BAD_REQUEST") -> None:
        super().__init__(problem, hint=hint)
        self.status = status
        self.code = code


def read_request(body: bytes, limits: Limits) -> ScoringRequest:
    """Read the images out of a request's body.

    Args:
        body: JSON with either `dataframe_split` or `dataframe_records`, and `params` where maps are wanted.
        limits: `images` is how many the request may bring.

    Returns:
        At least one image, not decoded yet, in the order of the rows.

    Raises:
        RequestError: For what is no JSON, has no column `image`, holds no image or no base64 (status 400), or holds
            more images or other values than allowed (413).
    """
    parts, most = sum(body.count(sign) for sign in (b",", b"[", b"{")), _LEAST_PARTS + _PARTS * limits.images
    if parts > most:
        raise _bad(f"the body has {parts} values and lists, at most {most} are read", status=413)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise _bad("the body is no JSON object")
    kinds = [kind for kind in _KINDS if kind in content]
    if len(kinds) != 1 or content.keys() - {*kinds, "params"}:
        raise _bad(f"expected one of {' and '.join(_KINDS)}, and params, found {_names(content)}")
    values = (_read_split if kinds[0] == "dataframe_split" else _read_records)(content[kinds[0]])
    if not values:
        raise _bad("there is no image in it")
    if len(values) > limits.images:
        raise _bad(f"{len(values)} images in one request, at most {limits.images} are taken", status=413)
    return ScoringRequest([_decode(value, row) for row, value in enumerate(values)], _wants_maps(content.get("params")))


def _read_split(table: Any) -> list[Any]:
    if not isinstance(table, dict) or not isinstance(table.get("columns"), list):
        raise _bad("dataframe_split expects an object with columns and data")
    columns, rows = table["columns"], table.get("data")
    if columns.count(COLUMN) != 1:
        raise _bad(f"there is no column `{COLUMN}` in columns, found {_names(columns)}")
    place = columns.index(COLUMN)
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        raise _bad("data expects a list of rows, each a list with a value for every column")
    return [row[place] for row in rows]


def _read_records(rows: Any) -> list[Any]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) and COLUMN in row for row in rows):
        raise _bad(f"dataframe_records expects a list of objects with `{COLUMN}`")
    return [row[COLUMN] for row in rows]


def _decode(value: Any, row: int) -> bytes:
    if not isinstance(value, str):
        raise _bad(f"row {row}: `{COLUMN}` is no text")
    try:
        # MLflow's own encoder breaks lines, which a strict reader takes for foreign letters.
        return base64.b64decode(value.encode("ascii").translate(None, _BREAKS), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(f"row {row}: `{COLUMN}` is no base64: {error}") from error


def _wants_maps(params: Any) -> bool:
    if params is None:
        return False
    if not isinstance(params, dict) or params.keys() - {"maps"} or not isinstance(params.get("maps", False), bool):
        raise _bad('params expects {"maps": true} or {"maps": false}')
    return bool(params.get("maps", False))


def _names(found: Mapping[str, Any] | list[Any]) -> str:
    return ", ".join(str(name)[:40] for name in list(found)[:6]) or "nothing"


def _bad(problem: str, status: int = 400) -> RequestError:
    return RequestError(
        problem,
        hint=f'send {{"dataframe_split": {{"columns": ["{COLUMN}"], "data": [["BASE64"], ...]}}}}',
        status=status,
    )
