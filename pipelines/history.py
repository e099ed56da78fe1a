"""What was inspected on a surface: one Parquet file a batch, which drift is measured on."""

import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import ToolError
from pipelines.files import whole_file
from pipelines.imaging.measures import MEASURES
from pipelines.records import Record

_SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("path", pa.string()),
        ("version", pa.int64()),
        ("score", pa.float64()),
        ("anomalous", pa.bool_()),
        ("error", pa.string()),
        *((name, pa.float64()) for name in MEASURES),
    ]
)
_ROWS = 10_000  # of one row group: what is held in memory while a batch is written


class Observation(Record):
    """One photograph as a version saw it.

    `score` is on the version's scale, None with `error` where the photograph could not be used. The measures
    (pipelines/imaging/measures.py) are of its region of interest. `path` is absolute, or says that the photograph came
    over REST and lies nowhere.
    """

    time: datetime
    path: str
    version: int
    score: float | None = None
    anomalous: bool | None = None
    error: str | None = None
    brightness_mean: float | None = None
    brightness_std: float | None = None
    sharpness: float | None = None
    saturated_share: float | None = None


def name_batch(started: datetime) -> str:
    """Name a batch by the time it began, UTC, so that names sort; a few letters keep two of one moment apart."""
    return f"{started.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(2)}"


def write_batch(folder: Path, observations: Iterable[Observation], name: str | None = None) -> Path | None:
    """Write a batch of inspections into a surface's history, whole or not at all; return None where it is empty.

    A batch written again under its `name` replaces itself.
    """
    rows = iter(observations)
    first = list(islice(rows, _ROWS))
    if not first:
        return None
    path = folder / f"{name or name_batch(first[0].time)}.parquet"
    with whole_file(path) as neighbour, pq.ParquetWriter(neighbour, _SCHEMA) as writer:
        for group in _groups(first, rows):
            writer.write_table(pa.Table.from_pylist([row.model_dump() for row in group], _SCHEMA))
    return path


def _groups(first: list[Observation], rows: Iterator[Observation]) -> Iterator[list[Observation]]:
    group = first
    while group:
        yield group
        group = list(islice(rows, _ROWS))


def read_history(folder: Path, since: datetime | None = None, version: int | None = None) -> pd.DataFrame:
    """Read a surface's history, oldest batch first: the columns of `Observation`, and `batch`, the file's name.

    `since` leaves out what was inspected before; it carries a time zone.

    Raises:
        ToolError: for a file that is no batch.
    """
    wanted = None
    for condition in (
        pc.field("time") >= pa.scalar(since, _SCHEMA.field("time").type) if since else None,
        pc.field("version") == version if version is not None else None,
    ):
        if condition is not None:
            wanted = condition if wanted is None else wanted & condition
    return _as_frame([_read_batch(path, wanted) for path in sorted(folder.glob("*.parquet"))])


def read_batch(path: Path, version: int) -> pd.DataFrame:
    """Read what one version saw in one batch, as `read_history` does.

    Raises:
        ToolError: for a file that is no batch.
    """
    return _as_frame([_read_batch(path, pc.field("version") == version)])


def _as_frame(tables: list[pa.Table]) -> pd.DataFrame:
    whole = pa.concat_tables([table for table in tables if table.num_rows] or [_name_rows(_SCHEMA.empty_table(), "")])
    # Verdicts are missing where a photograph could not be read: pandas' own bool knows no missing value.
    found: pd.DataFrame = whole.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    return found


def _read_batch(path: Path, wanted: pc.Expression | None) -> pa.Table:
    try:
        return _name_rows(pq.read_table(path, schema=_SCHEMA, filters=wanted), path.stem)
    except (pa.ArrowException, OSError) as error:
        raise ToolError(f"{path} is no batch of inspections: {error}", cure="move that file away") from error


def _name_rows(table: pa.Table, batch: str) -> pa.Table:
    return table.append_column("batch", pa.array([batch] * table.num_rows, pa.string()))
