"""What was inspected on a surface: one Parquet file a batch, which drift is measured on."""

import json
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.errors import ToolError
from pipelines.core.files import whole_file
from pipelines.core.parsing import parse_json
from pipelines.core.records import Record
from pipelines.imaging.measures import MEASURES

SCHEMA = pa.schema(
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
_JOINED = b"knotwatch.batches"  # a joined file's metadata: the names of the files in it, a JSON list


class Observation(Record):
    """One image as a version saw it.

    `score` is on the version's scale, None with `error` where the image could not be used. The measures
    (pipelines/imaging/measures.py) are of its region of interest. `path` is absolute, or says that the image came
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
    """Write a batch of inspections into a surface's history, whole or not at all.

    It counts as finished after all that are there, also where the clock was set back: who read up to the last of them
    would never see it otherwise.

    Args:
        folder: Of the surface's history; made where it is missing.
        observations: Read once, of which 10,000 are held at a time; may be empty.
        name: Of the batch, without ending: a batch written again under its name replaces itself. None names it by the
            time of its first image.

    Returns:
        The file; None where there are no observations.
    """
    rows = iter(observations)
    first = list(islice(rows, _ROWS))
    if not first:
        return None
    path = folder / f"{name or name_batch(first[0].time)}.parquet"
    with whole_file(path) as neighbour:
        with pq.ParquetWriter(neighbour, SCHEMA) as writer:
            for group in _groups(first, rows):
                writer.write_table(pa.Table.from_pylist([row.model_dump() for row in group], SCHEMA))
        batches = list_batches(folder)
        if batches and neighbour.stat().st_mtime_ns <= batches[-1][1]:
            os.utime(neighbour, ns=(batches[-1][1] + 1,) * 2)
    return path


def _groups(first: list[Observation], rows: Iterator[Observation]) -> Iterator[list[Observation]]:
    group = first
    while group:
        yield group
        group = list(islice(rows, _ROWS))


def read_history(folder: Path, since: datetime | None = None, version: int | None = None) -> pd.DataFrame:
    """Read a surface's history, oldest batch first.

    Args:
        folder: Of the surface's history; one that is missing has no rows.
        since: Leaves out what was inspected before; carries a time zone. None for all.
        version: Leaves out what other versions saw. None for all.

    Returns:
        A row an image: the columns of `Observation`, and `batch`, the file's name without its ending.

    Raises:
        ToolError: If a file is no batch.
    """
    wanted = None
    for condition in (
        pc.field("time") >= pa.scalar(since, SCHEMA.field("time").type) if since else None,
        pc.field("version") == version if version is not None else None,
    ):
        if condition is not None:
            wanted = condition if wanted is None else wanted & condition
    return _as_frame([_read_batch(path, wanted) for path in sorted(folder.glob("*.parquet"))])


def read_batch(path: Path, version: int) -> pd.DataFrame:
    """Read what one version saw in one batch.

    Args:
        path: A file of the history.
        version: Number of the version in the registry.

    Returns:
        Rows as `read_history` returns them; may be empty.

    Raises:
        ToolError: If the file is no batch.
    """
    return _as_frame([_read_batch(path, pc.field("version") == version)])


def check_batch(path: Path) -> None:
    """Read a file of the history to its end; raise ToolError if it is no batch."""
    for _ in _read_groups(path):
        pass


def list_batches(folder: Path) -> list[tuple[Path, int]]:
    """List batches and when each was finished (ns since 1970), in that order, which names do not tell."""
    times = []
    for path in folder.glob("*.parquet"):
        with suppress(FileNotFoundError):  # a check that goes on meanwhile joins files
            times.append((path, path.stat().st_mtime_ns))
    return sorted(times, key=lambda batch: (batch[1], batch[0].name))


def join_days(folder: Path, today: date, seen_ns: Sequence[int]) -> int:
    """Join the batches of each past day into one file.

    A server writes hundreds of files a day. A joined file counts as finished when the last of its batches was. Killed
    in between, the next call with the same times ends what was begun. Days with a damaged file are left as they are.

    Args:
        folder: Of the surface's history.
        today: In UTC; its batches and later ones are left alone.
        seen_ns: Times in ns since 1970 up to which someone has read; may be empty. What was finished on different sides
            of one is kept apart, so that whoever reads on from there misses nothing and reads nothing twice.

    Returns:
        How many files are gone.

    Raises:
        ToolError: If a file is no batch, once all other days are joined.
    """
    found = [(path, time) for path, time in list_batches(folder) if path.name[:8] < f"{today:%Y%m%d}"]
    damaged: list[ToolError] = []
    joined: dict[Path, list[str]] = {}
    for path, _ in found:
        try:
            joined[path] = _read_joined(path)
        except ToolError as error:
            damaged.append(error)
    # Where an earlier call was killed, what lies in a joined file already is only removed.
    done = {name for names in joined.values() for name in names}
    days: dict[tuple[object, ...], list[Path]] = defaultdict(list)
    for path, time in found:
        if path in joined and path.stem not in done:
            days[path.name[:8], *(time <= limit for limit in seen_ns)].append(path)
    gone = [path for path in joined if path.stem in done]
    for paths in days.values():
        if len(paths) > 1:
            try:
                _join({path: joined[path] for path in sorted(paths)})
                gone += paths
            except ToolError as error:
                damaged.append(error)
    for path in gone:
        path.unlink()
    if damaged:
        raise damaged[0]
    return len(gone)


def _join(paths: Mapping[Path, list[str]]) -> None:
    """Write batches into a new file of their day, a row group at a time; its name is one that no batch has."""
    first = next(iter(paths))
    names = [name for path, inside in paths.items() for name in (path.stem, *inside)]
    with whole_file(first.with_name(f"{first.name[:8]}-joined-{secrets.token_hex(4)}.parquet")) as neighbour:
        with pq.ParquetWriter(neighbour, SCHEMA.with_metadata({_JOINED: json.dumps(names)})) as writer:
            for path in paths:
                for group in _read_groups(path):
                    writer.write_batch(group)
        last = max(path.stat().st_mtime_ns for path in paths)
        os.utime(neighbour, ns=(last, last))


def _read_groups(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        for group in pq.ParquetFile(path).iter_batches(_ROWS):
            yield group.cast(SCHEMA)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_batch(path, error) from error


def _read_joined(path: Path) -> list[str]:
    try:
        return [str(name) for name in parse_json((pq.read_schema(path).metadata or {}).get(_JOINED, b"[]"))]
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise _no_batch(path, error) from error


def _no_batch(path: Path, error: Exception) -> ToolError:
    return ToolError(f"{path} is no batch of inspections: {error}", hint="move that file away")


def _as_frame(tables: list[pa.Table]) -> pd.DataFrame:
    whole = pa.concat_tables([table for table in tables if table.num_rows] or [_name_rows(SCHEMA.empty_table(), "")])
    # Verdicts are missing where an image could not be read: pandas' own bool knows no missing value.
    found: pd.DataFrame = whole.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    return found


def _read_batch(path: Path, wanted: pc.Expression | None) -> pa.Table:
    try:
        return _name_rows(pq.read_table(path, schema=SCHEMA, filters=wanted), path.stem)
    except (pa.ArrowException, OSError) as error:
        raise _no_batch(path, error) from error


def _name_rows(table: pa.Table, batch: str) -> pa.Table:
    return table.append_column("batch", pa.array([batch] * table.num_rows, pa.string()))
